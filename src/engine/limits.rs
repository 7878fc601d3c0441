//! What a container may use of the machine, and what is done with an engine that cannot hold a limit.

use bollard::models::{HostConfig, ResourcesUlimits};

/// Memory, in bytes.
const MEMORY: i64 = 2 << 30;
/// Processes and threads.
const PROCESSES: i64 = 512;
/// CPU time, in millionths of a second for each [`PERIOD`]: two processors.
const CPU: i64 = 200_000;
const PERIOD: i64 = 100_000;
/// The largest file that a script may write, in bytes.
const LARGEST_FILE: i64 = 512 << 20;
/// What a container may write in all, in bytes, beyond the files that it is given.
pub(super) const DISK: u64 = 1 << 30;

/// A limit that not every engine can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Cpu,
    FileSize,
    Memory,
    Processes,
}

const ALL: [Limit; 4] = [Limit::Cpu, Limit::FileSize, Limit::Memory, Limit::Processes];

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "CPU time",
            Self::FileSize => "the size of a file",
            Self::Memory => "memory",
            Self::Processes => "processes",
        }
    }

    /// Words of an engine's refusal that name the limit (runc, crun, Docker, Podman).
    fn words(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &["cpu"],
            Self::FileSize => &["rlimit", "ulimit"],
            Self::Memory => &["memory"],
            Self::Processes => &["pids"],
        }
    }
}

/// Open files and processes of a user, for an engine that may not raise its own limits and does so unless it is told these.
const MODEST: [(&str, i64); 2] = [("nofile", 1024), ("nproc", 4096)];

/// The limits of a run's containers.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    dropped: Vec<Limit>,
    /// Whether the [`MODEST`] limits are set.
    is_modest: bool,
}

impl Limits {
    /// Sets the limits. A .NET program reserves a file of terabytes that it never fills, so for one there is no limit on
    /// the size of a file (dotnet/runtime, `ExecutableAllocator`).
    pub(super) fn set(&self, config: &mut HostConfig, is_dotnet: bool) {
        let has = |limit| !self.dropped.contains(&limit);
        config.memory = has(Limit::Memory).then_some(MEMORY);
        config.pids_limit = has(Limit::Processes).then_some(PROCESSES);
        if has(Limit::Cpu) {
            (config.cpu_period, config.cpu_quota) = (Some(PERIOD), Some(CPU));
        }
        if has(Limit::FileSize) {
            let ulimit =
                |name: &str, most| ResourcesUlimits { name: Some(name.to_owned()), soft: Some(most), hard: Some(most) };
            let largest = (!is_dotnet).then(|| ulimit("fsize", LARGEST_FILE));
            // A crash would be handed to a program of the host (core(5)).
            let modest = MODEST.iter().filter(|_| self.is_modest).map(|(name, most)| ulimit(name, *most));
            config.ulimits = Some(std::iter::once(ulimit("core", 0)).chain(largest).chain(modest).collect());
        }
    }

    /// Names the limits that a container was to have, and has not by what the engine says of it. Some engines pass over what
    /// they cannot hold without a word.
    pub(super) fn missing(&self, config: &HostConfig, is_dotnet: bool) -> Vec<&'static str> {
        let is_missing = |limit: &Limit| match limit {
            Limit::Memory => config.memory.is_none_or(|most| most <= 0 || most > MEMORY),
            Limit::Processes => config.pids_limit.is_none_or(|most| most <= 0 || most > PROCESSES),
            Limit::Cpu => {
                config.cpu_quota.is_none_or(|quota| quota <= 0) && config.nano_cpus.is_none_or(|nanos| nanos <= 0)
            }
            Limit::FileSize => {
                let is_it = |ulimit: &ResourcesUlimits| {
                    ulimit.name.as_ref().is_some_and(|name| name.to_ascii_lowercase().ends_with("fsize"))
                };
                !is_dotnet && !config.ulimits.iter().flatten().any(is_it)
            }
        };
        let wanted = ALL.into_iter().filter(|limit| !self.dropped.contains(limit));
        wanted.filter(is_missing).map(Limit::name).collect()
    }

    /// Changes the limits that an engine's refusal is about. Returns what to report; `None` if it is about something else.
    pub(super) fn give_way(&mut self, why: &str) -> Option<String> {
        let lower = why.to_ascii_lowercase();
        let is_named = |limit: &Limit| limit.words().iter().any(|word| lower.contains(word));
        let mut refused: Vec<Limit> = ALL.into_iter().filter(is_named).collect();
        let is_general = ["cgroup", "controller", "resource limit"].iter().any(|word| lower.contains(word));
        if refused.is_empty() && is_general {
            refused = vec![Limit::Cpu, Limit::Memory, Limit::Processes];
        }
        refused.retain(|limit| !self.dropped.contains(limit));
        if refused.is_empty() {
            return None;
        }
        if refused == [Limit::FileSize] && !self.is_modest {
            self.is_modest = true;
            return Some("at most 1024 open files".to_owned());
        }
        let names: Vec<&str> = refused.iter().map(|limit| limit.name()).collect();
        self.dropped.extend(refused);
        Some(format!("no limit on {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_an_engine_refuses_is_dropped_once() {
        let mut limits = Limits::default();
        let why = "crun: the requested cgroup controller `cpu` is not available: OCI runtime error";
        assert_eq!(limits.give_way(why).as_deref(), Some("no limit on CPU time"));
        assert_eq!(limits.give_way(why), None, "it is something else then");
        let mut config = HostConfig::default();
        limits.set(&mut config, false);
        assert_eq!((config.cpu_quota, config.memory), (None, Some(MEMORY)));
        let why = "error setting cgroup config: no such file";
        assert_eq!(limits.give_way(why).as_deref(), Some("no limit on memory, processes"));
        assert_eq!(limits.give_way("exec: \"bash\": executable file not found"), None);
    }

    #[test]
    fn a_limit_that_an_engine_passes_over_is_noticed() {
        let limits = Limits::default();
        let mut config = HostConfig::default();
        assert_eq!(limits.missing(&config, false), ["CPU time", "the size of a file", "memory", "processes"]);
        limits.set(&mut config, false);
        assert!(limits.missing(&config, false).is_empty());
        config.pids_limit = Some(2048);
        config.ulimits = None;
        assert_eq!(limits.missing(&config, true), ["processes"]);
    }

    #[test]
    fn an_engine_that_may_not_raise_a_limit_is_told_a_low_one() {
        let mut limits = Limits::default();
        let why = "runc create failed: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted";
        assert_eq!(limits.give_way(why).as_deref(), Some("at most 1024 open files"));
        assert_eq!(limits.give_way(why).as_deref(), Some("no limit on the size of a file"));
        assert_eq!(limits.give_way(why), None);
    }

    #[test]
    fn a_dotnet_program_may_reserve_a_large_file() {
        let limited = |is_dotnet| {
            let mut config = HostConfig::default();
            Limits::default().set(&mut config, is_dotnet);
            config.ulimits.unwrap().into_iter().filter_map(|ulimit| ulimit.name).collect::<Vec<_>>()
        };
        assert_eq!(limited(false), ["core", "fsize"]);
        assert_eq!(limited(true), ["core"]);
    }
}

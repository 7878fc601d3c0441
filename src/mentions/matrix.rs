//! The matrix of a GitHub workflow's job, as far as it stands in the file (docs.github.com, "Running variations of jobs
//! in a workflow").

use super::tree::Node;

/// The most jobs that a matrix makes (docs.github.com, "Usage limits").
const MOST_JOBS: usize = 256;

/// The values of one job that a matrix makes, by their keys.
type Job<'a> = Vec<(&'a str, &'a Node)>;

/// The jobs that a job's matrix makes. `None` if it has none, if the matrix is known only when the workflow runs, or if
/// it makes more jobs than GitHub does.
pub(super) fn jobs(job: &Node) -> Option<Vec<Job<'_>>> {
    let matrix = job.get("strategy").and_then(|strategy| strategy.get("matrix"))?;
    if matrix.text().is_some() {
        return None;
    }
    let is_axis = |key: &str| key != "include" && key != "exclude";
    let mut made: Vec<Job<'_>> = vec![Job::new()];
    for (key, values) in matrix.entries().iter().filter(|(key, _)| is_axis(key)) {
        if values.items().is_empty() {
            return None;
        }
        made = made.iter().flat_map(|job| values.items().iter().map(|value| with(job, key, value))).collect();
        if made.len() > MOST_JOBS {
            return None;
        }
    }
    let has_axes = matrix.entries().iter().any(|(key, _)| is_axis(key));
    let listed = |key: &str| match matrix.get(key) {
        Some(list) if list.text().is_some() => None,
        list => Some(list.map(Node::items).unwrap_or_default()),
    };
    let excluded = listed("exclude")?;
    made.retain(|job| !excluded.iter().any(|entry| entry.entries().iter().all(|(key, value)| has(job, key, value))));
    let axes = made.clone();
    let mut alone = Vec::new();
    for entry in listed("include")? {
        let fits = |job: &Job<'_>| {
            entry.entries().iter().all(|(key, value)| job.iter().all(|(own, has)| own != key || is_same(has, value)))
        };
        let mut is_added = false;
        for (job, axes) in made.iter_mut().zip(&axes).filter(|(_, axes)| has_axes && fits(axes)) {
            let added = entry.entries().iter().filter(|(key, _)| axes.iter().all(|(own, _)| own != key));
            for (key, value) in added {
                *job = with(job, key, value);
            }
            is_added = true;
        }
        if !is_added {
            alone.push(entry.entries().iter().map(|(key, value)| (key.as_str(), value)).collect());
        }
    }
    if !has_axes && !alone.is_empty() {
        made.clear();
    }
    made.extend(alone);
    (made.len() <= MOST_JOBS).then_some(made)
}

/// The job with one value more, which stands in place of an earlier one.
fn with<'a>(job: &Job<'a>, key: &'a str, value: &'a Node) -> Job<'a> {
    let others = job.iter().filter(|(own, _)| *own != key).copied();
    others.chain([(key, value)]).collect()
}

fn has(job: &Job<'_>, key: &str, value: &Node) -> bool {
    job.iter().any(|(own, has)| *own == key && is_same(has, value))
}

fn is_same(one: &Node, other: &Node) -> bool {
    match (one.text(), other.text()) {
        (Some((one, _)), Some((other, _))) => one == other,
        (None, None) => {
            let (one, other) = (one.entries(), other.entries());
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.iter().any(|(name, other)| name == key && is_same(value, other)))
        }
        _ => false,
    }
}

/// What a text is in one job: its `${{ matrix.KEY }}` in the job's values. A text that is one such expression may be a
/// mapping. `None` if it holds another expression.
pub(super) fn value_in(node: &Node, job: &Job<'_>) -> Option<Node> {
    let Some((text, line)) = node.text() else { return Some(node.clone()) };
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}")?;
        let value = looked_up(expression.trim(), job)?;
        if before.is_empty() && after.is_empty() && out.is_empty() {
            return Some(at_line(value, line));
        }
        out.push_str(before);
        out.push_str(value.as_ref().and_then(|value| value.text()).map(|(text, _)| text).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    Some(Node::Text { text: out, line })
}

/// The value of `matrix.KEY` or `matrix.KEY.NAME`, which is nothing where the job has none.
fn looked_up(expression: &str, job: &Job<'_>) -> Option<Option<Node>> {
    let mut keys = expression.strip_prefix("matrix.")?.split('.');
    let is_name =
        |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    let first = keys.next().filter(|key| is_name(key))?;
    let mut value = job.iter().find(|(key, _)| *key == first).map(|(_, value)| *value);
    for key in keys {
        value = value.filter(|_| is_name(key)).and_then(|value| value.get(key));
    }
    Some(value.cloned())
}

/// A value where it is used.
fn at_line(value: Option<Node>, line: u64) -> Node {
    match value {
        Some(Node::Text { text, .. }) => Node::Text { text, line },
        Some(node) => node,
        None => Node::Text { text: String::new(), line },
    }
}

//! Finds the images that other files name: lists, compose files, manifests, workflows, deployment processes.

mod compose;
mod dotenv;
mod forms;
mod matrix;
mod tree;

use std::collections::BTreeMap;

pub use dotenv::variables;
use tree::Node;

/// The largest file that is looked into, in bytes.
const LARGEST: usize = 16 << 20;

/// An image that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The image, or why it cannot be told which.
    pub image: Result<String, String>,
    /// The line, from 1.
    pub line: u64,
}

/// The variables by which compose files and the like complete names: of a `.env` file, or of the environment if somebody
/// asked for them. Never all of the environment: a file that comes with what is checked could send them away.
pub type Variables = BTreeMap<String, String>;

/// The images of a list: one a line, with comments after `#`.
#[must_use]
pub fn list(text: &str) -> Vec<Named> {
    let line = |(number, line): (usize, &str)| {
        // A fragment of a name never begins with a blank.
        let image = line.trim_start_matches('\u{feff}').split(" #").next().unwrap_or_default().trim();
        let is_named = !image.is_empty() && !image.starts_with('#');
        is_named.then(|| Named { image: Ok(image.to_owned()), line: number as u64 + 1 })
    };
    text.lines().enumerate().filter_map(line).collect()
}

/// The images that a compose file, Kubernetes manifests, an Octopus deployment process, or a workflow of GitHub, GitLab
/// or Azure names, in the order of its lines.
///
/// # Errors
/// It is none of these, or cannot be read: the end of a sentence.
pub fn find(text: &str, variables: &Variables) -> Result<Vec<Named>, String> {
    if text.len() > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    let documents = tree::read(text)?;
    let mut found = Vec::new();
    for document in documents.iter().filter(|document| !matches!(document, Node::Null)) {
        found.extend(forms::of(document, variables).ok_or(
            "it is no compose file, Kubernetes manifest, Octopus deployment process or workflow of GitHub, GitLab or Azure",
        )?);
    }
    found.sort_by_key(|named| named.line);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(String, u64)> {
        let variables = Variables::from([("TAG".to_owned(), "7".to_owned())]);
        let told = |named: Named| (named.image.unwrap_or_else(|why| format!("? {why}")), named.line);
        find(text, &variables).unwrap().into_iter().map(told).collect()
    }

    fn pairs(all: &[(&str, u64)]) -> Vec<(String, u64)> {
        all.iter().map(|(image, line)| ((*image).to_owned(), *line)).collect()
    }

    #[test]
    fn a_list_has_comments() {
        let named = list("# images\napp:1\n\n  b@sha256:0 # why\n");
        let named: Vec<_> = named.into_iter().map(|named| (named.image.unwrap(), named.line)).collect();
        assert_eq!(named, pairs(&[("app:1", 2), ("b@sha256:0", 4)]));
    }

    #[test]
    fn compose_files_complete_names_by_the_environment() {
        let text = "x-base: &base\n  image: base:1\nservices:\n  a:\n    image: app:${TAG}\n  b:\n    image: ${REGISTRY:-hub.example}/b:$TAG\n  \
                    c:\n    <<: *base\n  d:\n    build: .\n  e:\n    image: e:${NONE:?say which}\n  f: {image: \"f$$1:${TAG+x}\"}\n";
        assert_eq!(
            found(text),
            pairs(&[
                ("base:1", 2),
                ("app:7", 5),
                ("hub.example/b:7", 7),
                ("? e:${NONE:?say which} depends on NONE, which is not set", 13),
                ("f$1:x", 14)
            ])
        );
    }

    #[test]
    fn kubernetes_manifests_name_containers_wherever_they_are() {
        let text = "apiVersion: v1\nkind: Pod\nspec:\n  initContainers:\n  - image: init:1\n  containers:\n  - name: x\n    image: app:2\n---\n\
                    apiVersion: batch/v1\nkind: CronJob\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{image: job:3}]}}}}}\n---\n";
        assert_eq!(found(text), pairs(&[("init:1", 5), ("app:2", 8), ("job:3", 12)]));
    }

    #[test]
    fn workflows_name_images() {
        let github = "on: push\njobs:\n  a:\n    runs-on: x\n    container: node:22\n    services:\n      db: {image: \"postgres:17\"}\n    \
                      steps:\n    - uses: docker://alpine:3.22\n    - uses: actions/checkout@v6\n  b:\n    runs-on: x\n    container:\n      image: ${{ matrix.image }}\n";
        assert_eq!(
            found(github),
            pairs(&[
                ("node:22", 5),
                ("postgres:17", 7),
                ("alpine:3.22", 9),
                ("? ${{ matrix.image }} is known only when the workflow runs", 14)
            ])
        );
        let matrix = "on: push\njobs:\n  a:\n    runs-on: x\n    strategy:\n      matrix:\n        os: [debian, ubuntu]\n        tag: ['1', 2]\n        \
                      exclude: [{os: ubuntu, tag: 2}]\n        include: [{os: alpine, tag: 3}, {os: debian, extra: y}]\n    \
                      container: {image: \"${{ matrix.os }}:${{matrix.tag}}\"}\n    services:\n      b: \"${{ matrix.none }}\"\n  b:\n    runs-on: x\n    \
                      strategy: {matrix: {c: [{image: 'node:22'}, '']}}\n    container: ${{ matrix.c }}\n  c:\n    runs-on: x\n    container: ''\n  \
                      d:\n    runs-on: x\n    strategy: {matrix: \"${{ fromJSON(x) }}\"}\n    container: ${{ matrix.image }}\n";
        assert_eq!(
            found(matrix),
            pairs(&[
                ("debian:1", 11),
                ("debian:2", 11),
                ("ubuntu:1", 11),
                ("alpine:3", 11),
                ("node:22", 16),
                ("? ${{ matrix.image }} is known only when the workflow runs", 24)
            ])
        );
        let acr = "resources:\n  containers:\n  - container: t\n    type: ACR\n    registry: myreg\n    repository: tools\n  - {container: u, image: \"u:1\"}\npool: x\n";
        assert_eq!(found(acr), pairs(&[("myreg.azurecr.io/tools", 6), ("u:1", 7)]));
        let gitlab = "image: ruby:3\nvariables: {V: '9'}\ndefault:\n  services: [\"redis:$V\"]\nbuild:\n  image: {name: \"go:${V}\"}\n  script: x\n.t: {script: y}\n";
        assert_eq!(found(gitlab), pairs(&[("ruby:3", 1), ("redis:9", 4), ("go:9", 6)]));
        let azure = "pool: x\nresources:\n  containers:\n  - container: u\n    image: ubuntu:24.04\nstages:\n- jobs:\n  - job: a\n    container: u\n  \
                     - job: b\n    container: debian:12\n  - job: c\n    container: {image: \"x:$(tag)\"}\n";
        assert_eq!(
            found(azure),
            pairs(&[("ubuntu:24.04", 5), ("debian:12", 11), ("? x:$(tag) is known only when the workflow runs", 13)])
        );
    }

    #[test]
    fn an_octopus_process_names_execution_containers() {
        let text = "{\"Steps\": [{\"Actions\": [\n{\"Container\": {\"Image\": \"octopusdeploy/worker-tools:6\", \"FeedId\": \"Feeds-1\"}},\n\
                    {\"Container\": {\"Image\": null}},\n{\"Container\": {\"Image\": \"x:#{Tag}\"}}]}]}";
        assert_eq!(
            found(text),
            pairs(&[("octopusdeploy/worker-tools:6", 2), ("? x:#{Tag} is known only when the workflow runs", 4)])
        );
    }

    #[test]
    fn what_is_none_of_these_is_told() {
        let variables = Variables::new();
        assert!(find("a: 1", &variables).unwrap_err().starts_with("it is no compose file"));
        assert!(find("a: [", &variables).unwrap_err().contains("line"));
        let laughs = format!(
            "a: &a [x]\nb: &b [{0}]\nc: &c [{1}]\nd: &d [{2}]\ne: &e [{3}]\nf: [{4}]\n",
            "*a,".repeat(20),
            "*b,".repeat(20),
            "*c,".repeat(20),
            "*d,".repeat(20),
            "*e,".repeat(20)
        );
        assert!(find(&laughs, &variables).unwrap_err().contains("more than"));
        assert!(find(&"[".repeat(5000), &variables).is_err());
    }
}

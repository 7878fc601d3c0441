//! The forms of files that name images, each told by its content, and where in each the images are.

use super::tree::Node;
use super::{Named, Variables, compose, matrix};
use crate::printable::excerpt;

/// What a document names; nothing if it is of no form that is known.
pub(super) fn of(document: &Node, variables: &Variables) -> Option<Vec<Named>> {
    let has = |key: &str| document.get(key).is_some();
    let is_map = |key: &str| document.get(key).is_some_and(|value| !value.entries().is_empty());
    let jobs = document.get("jobs");
    let is_github =
        has("on") || jobs.is_some_and(|jobs| jobs.entries().iter().any(|(_, job)| job.get("runs-on").is_some()));
    Some(if has("apiVersion") && has("kind") {
        kubernetes(document)
    } else if document.get("Steps").is_some_and(|steps| !steps.items().is_empty()) {
        octopus(document)
    } else if is_map("jobs") && is_github {
        github(document)
    } else if ["resources", "stages", "jobs", "steps", "pool"].iter().any(|key| has(key)) && !is_gitlab(document) {
        azure(document)
    } else if is_map("services") {
        let named = document.get("services").map(|services| services.entries()).unwrap_or_default();
        named
            .iter()
            .filter_map(|(_, service)| service.get("image"))
            .filter_map(|image| named_by(image, variables))
            .collect()
    } else if is_gitlab(document) {
        gitlab(document)
    } else {
        return None;
    })
}

/// An image whose name is completed by variables.
fn named_by(node: &Node, variables: &Variables) -> Option<Named> {
    let (text, line) = node.text()?;
    let image = compose::completed(text, variables)
        .map_err(|name| format!("{} depends on {}, which is not set", excerpt(text, 200), excerpt(&name, 100)));
    Some(Named { image, line })
}

/// An image whose name is as it stands, unless it holds one of these marks of an expression.
fn named(node: &Node, marks: &[&str]) -> Option<Named> {
    let (text, line) = node.text()?;
    let image = match marks.iter().any(|mark| text.contains(mark)) {
        true => Err(format!("{} is known only when the workflow runs", excerpt(text, 200))),
        false => Ok(text.to_owned()),
    };
    Some(Named { image, line })
}

/// Containers of pods, wherever a manifest has them (Kubernetes API, PodSpec).
fn kubernetes(node: &Node) -> Vec<Named> {
    let mut found = Vec::new();
    for (key, value) in node.entries() {
        if ["containers", "initContainers", "ephemeralContainers"].contains(&key.as_str()) {
            found.extend(value.items().iter().filter_map(|container| named(container.get("image")?, &[])));
        } else {
            found.extend(kubernetes(value));
        }
    }
    found.extend(node.items().iter().flat_map(kubernetes));
    found
}

/// Execution containers of the actions of a process (`Steps[].Actions[].Container.Image`).
fn octopus(document: &Node) -> Vec<Named> {
    let steps = document.get("Steps").map(Node::items).unwrap_or_default();
    let actions = steps.iter().filter_map(|step| step.get("Actions")).flat_map(Node::items);
    actions.filter_map(|action| named(action.get("Container")?.get("Image")?, &["#{"])).collect()
}

/// `container`, `services` and `uses: docker://…` (docs.github.com, "Workflow syntax for GitHub Actions").
fn github(document: &Node) -> Vec<Named> {
    let marks = ["${{"];
    let mut found = Vec::new();
    for (_, job) in document.get("jobs").map(Node::entries).unwrap_or_default() {
        let services = job.get("services").map(Node::entries).unwrap_or_default().iter().map(|(_, service)| service);
        for container in job.get("container").into_iter().chain(services) {
            for image in in_matrix(container, job) {
                // Without a name there is no container: the job runs on the machine.
                let image = named(&image, &marks).filter(|named| named.image.as_deref() != Ok(""));
                found.extend(image.filter(|image| !found.contains(image)));
            }
        }
        for step in job.get("steps").map(Node::items).unwrap_or_default() {
            let Some((text, line)) = step.get("uses").and_then(Node::text) else { continue };
            let image = text.strip_prefix("docker://").map(|text| Node::Text { text: text.to_owned(), line });
            found.extend(image.and_then(|image| named(&image, &marks)));
        }
    }
    found
}

/// The images that a container of a job has in all jobs that its matrix makes; as it stands if that is not known.
fn in_matrix(container: &Node, job: &Node) -> Vec<Node> {
    let image_of = |node: &Node| node.get("image").unwrap_or(node).clone();
    let in_job = |values: &Vec<(&str, &Node)>| {
        let container = matrix::value_in(container, values)?;
        matrix::value_in(&image_of(&container), values)
    };
    let all = matrix::jobs(job).and_then(|jobs| jobs.iter().map(in_job).collect());
    all.unwrap_or_else(|| vec![image_of(container)])
}

/// Whether the document has jobs as GitLab has them: mappings at the top with a script, an image or a trigger.
fn is_gitlab(document: &Node) -> bool {
    let is_job = |node: &Node| ["script", "image", "trigger", "extends"].iter().any(|key| node.get(key).is_some());
    let reserved = ["resources", "pool", "steps", "jobs", "services"];
    document.entries().iter().any(|(key, node)| !reserved.contains(&key.as_str()) && is_job(node))
        || document.get("image").is_some()
}

/// `image` and `services`, at the top, in `default` and in jobs (docs.gitlab.com, "CI/CD YAML syntax reference").
fn gitlab(document: &Node) -> Vec<Named> {
    let mut variables = Variables::new();
    for (name, value) in document.get("variables").map(Node::entries).unwrap_or_default() {
        let value = value.get("value").unwrap_or(value);
        variables.extend(value.text().map(|(text, _)| (name.clone(), text.to_owned())));
    }
    let jobs = document.entries().iter().map(|(_, node)| node);
    let mut found = Vec::new();
    for node in std::iter::once(document).chain(jobs) {
        let services = node.get("services").map(Node::items).unwrap_or_default();
        for image in node.get("image").into_iter().chain(services) {
            let image = image.get("name").unwrap_or(image);
            found.extend(named_by(image, &variables));
        }
    }
    found
}

/// `resources.containers` and `container` of jobs (learn.microsoft.com, "YAML schema reference for Azure Pipelines").
fn azure(document: &Node) -> Vec<Named> {
    let marks = ["$(", "${{", "$["];
    let resources = document.get("resources").and_then(|resources| resources.get("containers"));
    let resources = resources.map(Node::items).unwrap_or_default();
    let called: Vec<&str> =
        resources.iter().filter_map(|container| Some(container.get("container")?.text()?.0)).collect();
    let mut found: Vec<Named> = resources.iter().filter_map(|container| of_resource(container, &marks)).collect();
    let mut jobs: Vec<&Node> = vec![document];
    let stages = document.get("stages").map(Node::items).unwrap_or_default();
    for place in std::iter::once(document).chain(stages) {
        jobs.extend(place.get("jobs").map(Node::items).unwrap_or_default());
    }
    for container in jobs.into_iter().filter_map(|job| job.get("container")) {
        let image = container.get("image").unwrap_or(container);
        let is_called = image.text().is_some_and(|(text, _)| called.contains(&text));
        found.extend(Some(image).filter(|_| !is_called).and_then(|image| named(image, &marks)));
    }
    found
}

/// The image of a container of an Azure pipeline's resources: named, or one of a registry of Azure (learn.microsoft.com,
/// "resources.containers.container definition", `type: ACR`).
fn of_resource(container: &Node, marks: &[&str]) -> Option<Named> {
    if let Some(image) = container.get("image") {
        return named(image, marks);
    }
    let is_acr = container.get("type").and_then(Node::text).is_some_and(|(text, _)| text.eq_ignore_ascii_case("acr"));
    let (registry, _) = container.get("registry").filter(|_| is_acr)?.text()?;
    let (repository, line) = container.get("repository")?.text()?;
    let domain = if registry.contains('.') { "" } else { ".azurecr.io" };
    named(&Node::Text { text: format!("{registry}{domain}/{repository}"), line }, marks)
}

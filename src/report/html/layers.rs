//! A bar of an image's layers: how large each is, and which carry findings.

use super::super::markdown::html as escaped;
use super::super::terms::{made_by, size};
use super::super::{ImageResult, LayerReport};
use crate::verdict::Severity;

/// The least width of a layer, so that each can be seen, in thousandths of the bar.
const LEAST: u64 = 8;

/// The bar and, folded, the same as a table; nothing for an image without layers.
pub(super) fn bar(result: &ImageResult) -> String {
    let layers = &result.image.layers;
    if layers.is_empty() {
        return String::new();
    }
    let all: u64 = layers.iter().map(|layer| layer.bytes).fold(0, u64::saturating_add).max(1);
    let parts: String = layers
        .iter()
        .map(|layer| {
            let width = (u128::from(layer.bytes) * 1000 / u128::from(all)) as u64;
            let (worst, rules) = carried(result, layer);
            let rules = if rules.is_empty() { String::new() } else { format!(": {}", rules.join(", ")) };
            let title = format!("layer {}, {}{rules}", layer.index, size(layer.bytes));
            format!(
                "<span class=\"{worst}\" style=\"flex-grow:{}\" title=\"{}\"></span>",
                width.max(LEAST),
                escaped(&title)
            )
        })
        .collect();
    let rows: String = layers.iter().map(|layer| row(result, layer)).collect();
    format!(
        "<div class=\"layers\" aria-hidden=\"true\">{parts}</div>\n<details><summary>{}, {}</summary>\n\
         <div class=\"wide\" role=\"region\" aria-label=\"Layers of {}\" tabindex=\"0\"><table>\n<thead><tr><th scope=\"col\" class=\"number\">Layer</th><th scope=\"col\" class=\"number\">Stored</th>\
         <th scope=\"col\">Made by</th><th scope=\"col\">Findings</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div></details>\n",
        if layers.len() == 1 { "1 layer".to_owned() } else { format!("{} layers", layers.len()) },
        size(all),
        escaped(&result.image.reference),
    )
}

fn row(result: &ImageResult, layer: &LayerReport) -> String {
    let (_, rules) = carried(result, layer);
    format!(
        "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td><code>{}</code></td><td>{}</td></tr>\n",
        layer.index,
        size(layer.bytes),
        escaped(&made_by(layer.created_by.as_deref())),
        escaped(&rules.join(", ")),
    )
}

/// The worst severity of what a layer carries, as a class, and the rules.
fn carried(result: &ImageResult, layer: &LayerReport) -> (&'static str, Vec<String>) {
    let of_layer = |reported: &&super::ReportedFinding| {
        reported.finding.evidence.iter().any(|evidence| evidence.place.layer == Some(layer.index))
    };
    let carried: Vec<_> = result.counting().filter(of_layer).collect();
    let worst = carried.iter().map(|reported| reported.finding.severity).min();
    let class = match worst {
        Some(Severity::Error) => "error",
        Some(Severity::Warning) => "warning",
        Some(Severity::Info) => "info",
        None => "plain",
    };
    (class, carried.iter().map(|reported| reported.finding.rule.clone()).collect())
}

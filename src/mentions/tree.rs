//! YAML, and JSON with it, as a tree that knows its lines.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

/// How many nodes a file may have, those that aliases repeat counted again, and how deep they may be.
const MOST_NODES: usize = 500_000;
const DEEPEST: usize = 100;

/// A node.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Null,
    Text { text: String, line: u64 },
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// The value of a key; that of a merged mapping (`<<`) where it has none of its own.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        let own = entries.iter().rev().find(|(known, _)| known == key).map(|(_, value)| value);
        own.filter(|value| !matches!(value, Self::Null)).or_else(|| match self.merged()? {
            Self::List(all) => all.iter().find_map(|merged| merged.get(key)),
            merged => merged.get(key),
        })
    }

    fn merged(&self) -> Option<&Self> {
        let Self::Map(entries) = self else { return None };
        entries.iter().find(|(known, _)| known == "<<").map(|(_, value)| value)
    }

    /// The entries of a mapping.
    pub(super) fn entries(&self) -> &[(String, Self)] {
        if let Self::Map(entries) = self { entries } else { &[] }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> &[Self] {
        if let Self::List(items) = self { items } else { &[] }
    }

    /// The text of a scalar, and its line.
    pub(super) fn text(&self) -> Option<(&str, u64)> {
        if let Self::Text { text, line } = self { Some((text, *line)) } else { None }
    }

    fn size(&self) -> usize {
        1 + match self {
            Self::Null | Self::Text { .. } => 0,
            Self::List(items) => items.iter().map(Self::size).sum(),
            Self::Map(entries) => entries.iter().map(|(_, value)| value.size()).sum(),
        }
    }
}

/// What is open while a tree is built: a list, or a mapping with the key that waits for its value.
enum Open {
    List(Vec<Node>, usize),
    Map(Vec<(String, Node)>, Option<String>, usize),
}

/// The documents of a file.
pub(super) fn read(text: &str) -> Result<Vec<Node>, String> {
    let mut tree = Tree::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| format!("it is no YAML or JSON: {error}"))?;
        tree.take(event, span.start.line() as u64)?;
    }
    Ok(tree.documents)
}

#[derive(Default)]
struct Tree {
    documents: Vec<Node>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl Tree {
    fn take(&mut self, event: Event<'_>, line: u64) -> Result<(), String> {
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null =
                    style == ScalarStyle::Plain && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
                let node = if is_null { Node::Null } else { Node::Text { text: text.into_owned(), line } };
                // A null as a key is none.
                self.put(node, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned().unwrap_or(Node::Null);
                self.put(node, 0)
            }
            Event::SequenceStart(anchor, _) => self.begin(Open::List(Vec::new(), anchor)),
            Event::MappingStart(anchor, _) => self.begin(Open::Map(Vec::new(), None, anchor)),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::List(items, anchor)) => self.put(Node::List(items), anchor),
                Some(Open::Map(entries, _, anchor)) => self.put(Node::Map(entries), anchor),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn begin(&mut self, open: Open) -> Result<(), String> {
        if self.open.len() >= DEEPEST {
            return Err(format!("it is more than {DEEPEST} levels deep"));
        }
        self.open.push(open);
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        self.nodes += node.size();
        if self.nodes > MOST_NODES {
            return Err(format!("it has more than {MOST_NODES} nodes"));
        }
        if anchor > 0 {
            self.nodes += node.size();
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut() {
            None => self.documents.push(node),
            Some(Open::List(items, _)) => items.push(node),
            Some(Open::Map(entries, key, _)) => match key.take() {
                Some(key) => entries.push((key, node)),
                None => *key = Some(node.text().map_or_else(String::new, |(text, _)| text.to_owned())),
            },
        }
        Ok(())
    }
}

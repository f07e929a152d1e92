//! Kubernetes objects as they are after rendering.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// A set of labels, or a selector's `matchLabels`.
pub type Labels = BTreeMap<String, String>;

/// One object of a rendered overlay.
#[derive(Clone, Debug)]
pub struct Object(Value);

impl Object {
    /// `Deployment`, `Service` and so on; empty when the object does not say.
    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    /// The object's name; empty when it has none.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The object's namespace; empty when it says none, as objects of the cluster do.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// The object's own labels.
    pub fn labels(&self) -> Labels {
        labels(self.at("/metadata/labels"))
    }

    /// The value at a JSON pointer.
    pub fn at(&self, pointer: &str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    /// The text at a JSON pointer; empty when there is none.
    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The items of the list at a JSON pointer; none when there is no list.
    pub fn list(&self, pointer: &str) -> &[Value] {
        list(self.at(pointer))
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The whole object, to be changed.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    /// A problem of this object.
    pub fn problem(&self, field: impl Into<String>, what: impl Into<String>) -> Problem {
        Problem { object: self.to_string(), field: field.into(), what: what.into() }
    }
}

/// `Deployment/order`, as `kubectl` takes it.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.name())
    }
}

/// Everything that one overlay renders.
#[derive(Clone, Debug)]
pub struct Objects(pub Vec<Object>);

impl Objects {
    /// Parses what `kubectl kustomize` prints.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| error.to_string())?;
        Ok(Self(documents.into_iter().filter(|document| !document.is_null()).map(Object).collect()))
    }

    /// All objects, in the order in which they are rendered.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.0.iter()
    }

    /// The objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.iter().filter(move |object| object.kind() == kind)
    }

    /// The object of this kind and name.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.iter().find(|object| object.kind() == kind && object.name() == name)
    }

    /// The object that `Kind/name` names, to be changed.
    pub fn get_mut(&mut self, label: &str) -> Option<&mut Object> {
        self.0.iter_mut().find(|object| object.to_string() == label)
    }
}

/// Something that is wrong: with which object, at which field, and what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// `Kind/name`, or a file.
    pub object: String,
    /// The field, as a path that a person can follow.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.what)
    }
}

/// The items of a list; none when it is absent or no list.
pub fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The text of a field; empty when there is none.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The texts of a mapping; those values that are not text are left out.
pub fn labels(value: Option<&Value>) -> Labels {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether `labels` has everything that `wanted` asks for.
pub fn has_labels(labels: &Labels, wanted: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether a label selector (`matchLabels` and `matchExpressions`) selects these labels. An empty selector selects
/// everything.
pub fn selects(selector: &Value, labels_of: &Labels) -> bool {
    has_labels(labels_of, &labels(selector.get("matchLabels")))
        && list(selector.get("matchExpressions")).iter().all(|expression| {
            let value = labels_of.get(text(expression, "key"));
            let values = list(expression.get("values"));
            let listed = value.is_some_and(|value| values.iter().any(|one| one.as_str() == Some(value)));
            match text(expression, "operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

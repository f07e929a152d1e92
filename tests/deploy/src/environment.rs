//! The environment that a container gets.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::object::{Objects, list, text};
use crate::references::{Entries, config_map, secret};

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// It stands in the manifests.
    Known(String),
    /// A secret that only the cluster knows.
    Secret,
    /// Something of the running pod, such as its name.
    OfPod,
}

impl Variable {
    /// The value, when the manifests say it.
    pub fn known(&self) -> Option<&str> {
        match self {
            Self::Known(value) => Some(value),
            Self::Secret | Self::OfPod => None,
        }
    }
}

/// Returns the variables of a container as the kubelet would set them: `envFrom` in its order, then `env`, the later
/// one winning; `$(NAME)` in a value stands for a variable before it. What does not exist is left out, see
/// [`crate::references::check`].
pub fn environment(objects: &Objects, container: &Value) -> BTreeMap<String, Variable> {
    let mut variables = BTreeMap::new();
    for from in list(container.get("envFrom")) {
        let prefix = text(from, "prefix");
        let entries =
            from.get("configMapRef").and_then(|reference| config_map(objects, text(reference, "name")));
        let secrets = from.get("secretRef").and_then(|reference| secret(objects, text(reference, "name")));
        for (key, value) in entries.into_iter().chain(secrets).flat_map(|entries| entries.keys) {
            variables.insert(format!("{prefix}{key}"), value.map_or(Variable::Secret, Variable::Known));
        }
    }
    for item in list(container.get("env")) {
        let value = match (item.get("value"), item.get("valueFrom")) {
            (_, Some(source)) => value_from(objects, source),
            (value, None) => {
                let value = value.and_then(Value::as_str).unwrap_or_default();
                Some(Variable::Known(expand(value, &variables)))
            }
        };
        if let Some(value) = value {
            variables.insert(text(item, "name").to_owned(), value);
        }
    }
    variables
}

fn value_from(objects: &Objects, source: &Value) -> Option<Variable> {
    let entry = |entries: Option<Entries>, reference: &Value| {
        let mut entries = entries?;
        match entries.keys.remove(text(reference, "key")) {
            Some(value) => Some(value.map_or(Variable::Secret, Variable::Known)),
            None => entries.is_open.then_some(Variable::Secret),
        }
    };
    if let Some(reference) = source.get("configMapKeyRef") {
        return entry(config_map(objects, text(reference, "name")), reference);
    }
    if let Some(reference) = source.get("secretKeyRef") {
        return entry(secret(objects, text(reference, "name")), reference);
    }
    Some(Variable::OfPod)
}

/// Replaces `$(NAME)` by the variable's value; one that is not known here by `pod`, and one that does not exist by
/// nothing else than itself, as the kubelet does.
fn expand(text: &str, variables: &BTreeMap<String, Variable>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        expanded.push_str(before);
        let Some((name, behind)) = after.split_once(')') else {
            expanded.push_str("$(");
            rest = after;
            continue;
        };
        match variables.get(name) {
            Some(Variable::Known(value)) => expanded.push_str(value),
            Some(Variable::Secret | Variable::OfPod) => expanded.push_str("pod"),
            None => expanded.extend(["$(", name, ")"]),
        }
        rest = behind;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_those_that_the_kubelet_would_set() {
        let objects = Objects::parse(
            "{kind: ConfigMap, metadata: {name: a}, data: {A: one, B: one}}\n---\n\
             {kind: Secret, metadata: {name: s}, data: {B: dHdv, C: dHdv}}\n---\n\
             {kind: ExternalSecret, metadata: {name: e}, spec: {data: [{secretKey: D}]}}",
        )
        .unwrap();
        let container = serde_json::json!({
            "envFrom": [{"configMapRef": {"name": "a"}}, {"secretRef": {"name": "s"}}, {"secretRef": {"name": "e"}}],
            "env": [
                {"name": "C", "value": "$(A)-$(D)-$(NONE)"},
                {"name": "E", "valueFrom": {"secretKeyRef": {"name": "s", "key": "C"}}},
                {"name": "F", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "G", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "absent"}}},
            ],
        });
        let known = |text: &str| Variable::Known(text.to_owned());
        let expected = [
            ("A", known("one")),
            ("B", known("two")),
            ("C", known("one-pod-$(NONE)")),
            ("D", Variable::Secret),
            ("E", known("two")),
            ("F", Variable::OfPod),
        ];
        let expected = expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(environment(&objects, &container), expected);
    }
}

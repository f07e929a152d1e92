//! What the payer must do next.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the payer must do, as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum NextAction {
    /// Scan this text, shown as a QR code.
    QrCode { text: String },
    /// Go to this address; with fields, by a form that is posted there.
    Redirect {
        url: String,
        #[serde(default)]
        form: BTreeMap<String, String>,
    },
    /// Hand these parameters to the channel's app or script.
    ClientParameters { parameters: BTreeMap<String, String> },
    /// Do as described, such as transfer to an account, and name the reference.
    Instructions { reference: String, details: BTreeMap<String, String> },
    /// Wait: something is to be confirmed elsewhere, such as on the payer's phone.
    Wait,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back() {
        let form = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        for (action, stored) in [
            (NextAction::QrCode { text: "q".to_owned() }, r#"{"kind":"qr_code","text":"q"}"#),
            (
                NextAction::Redirect { url: "https://x".to_owned(), form: form.clone() },
                r#"{"kind":"redirect","url":"https://x","form":{"a":"1"}}"#,
            ),
            (
                NextAction::ClientParameters { parameters: form.clone() },
                r#"{"kind":"client_parameters","parameters":{"a":"1"}}"#,
            ),
            (
                NextAction::Instructions { reference: "r".to_owned(), details: form },
                r#"{"kind":"instructions","reference":"r","details":{"a":"1"}}"#,
            ),
            (NextAction::Wait, r#"{"kind":"wait"}"#),
        ] {
            assert_eq!(serde_json::to_string(&action).unwrap(), stored);
            assert_eq!(serde_json::from_str::<NextAction>(stored).unwrap(), action);
        }
    }
}

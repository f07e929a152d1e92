//! How to reach the buyer, as it is stored: the wire message, sealed for its order.

use prost::Message as _;
use secrecy::ExposeSecret as _;
use tael_ids::OrderId;
use tael_proto::order::v1 as wire;
use tael_sealed::{Keyring, OpenError};

use crate::domain::order::Contact;

/// Why a stored contact can't be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Sealed(#[from] OpenError),
    #[error("what was sealed is not a contact")]
    Content,
}

/// Seals a contact for one order; in another order's row it does not open.
pub(crate) fn seal(keyring: &Keyring, order_id: OrderId, contact: &Contact) -> Vec<u8> {
    let message = to_wire(contact.clone());
    keyring.seal(&message.encode_to_vec(), &context(order_id))
}

/// Opens what [`seal`] made.
pub(crate) fn open(keyring: &Keyring, order_id: OrderId, sealed: &[u8]) -> Result<Contact, Unreadable> {
    let bytes = keyring.open(sealed, &context(order_id))?;
    // The decoder's words are dropped: they may quote the content.
    let message = wire::Contact::decode(bytes.expose_secret()).map_err(|_| Unreadable::Content)?;
    let wire::Contact { name, phone, email, address } = message;
    Ok(Contact { name, phone, email, address })
}

/// Writes a contact as its message.
pub(crate) fn to_wire(contact: Contact) -> wire::Contact {
    let Contact { name, phone, email, address } = contact;
    wire::Contact { name, phone, email, address }
}

fn context(order_id: OrderId) -> Vec<u8> {
    format!("order.contact:{order_id}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_opens_in_its_own_order_only() {
        let keyring = Keyring::generate();
        let contact = Contact {
            name: "王小明".into(),
            phone: "+86 138 0000 0000".into(),
            email: "ming@example.com".into(),
            address: String::new(),
        };
        let (order, other) = (OrderId::new(), OrderId::new());
        let sealed = seal(&keyring, order, &contact);
        assert_eq!(open(&keyring, order, &sealed).unwrap(), contact);
        assert!(matches!(open(&keyring, other, &sealed), Err(Unreadable::Sealed(OpenError::Rejected))));
        assert!(!format!("{contact:?}").contains("ming"));
    }
}

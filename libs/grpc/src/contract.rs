//! What the contracts in `proto/` say of each rpc beside its messages: whom it concerns, and who acts.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message as _;
use tael_proto::r#type::v1::Audience;

/// What a contract says of an rpc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contract {
    /// Whom a call concerns.
    pub binding: Binding,
    /// The number of the request's field that names who acts, if there is one.
    pub operator: Option<u32>,
}

/// Whom a call concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The merchant whom the request names in the field of this number.
    Merchant(u32),
    /// The platform itself.
    Platform,
    /// Whoever has what the request holds.
    Bearer,
    /// The contract does not say it, which a test does not let pass.
    Undeclared,
}

/// The contracts of all rpcs by name, as in `tael.order.v1.OrderService/CreateOrder`.
pub fn contracts() -> &'static BTreeMap<String, Contract> {
    static CONTRACTS: LazyLock<BTreeMap<String, Contract>> =
        LazyLock::new(|| read(tael_proto::FILE_DESCRIPTOR_SET));
    &CONTRACTS
}

fn read(descriptors: &[u8]) -> BTreeMap<String, Contract> {
    let files = descriptor::Files::decode(descriptors).expect("the descriptors come from the compiler").files;
    let mut requests = BTreeMap::new();
    for file in &files {
        for message in &file.messages {
            requests.insert(format!(".{}.{}", file.package, message.name), message);
        }
    }
    let mut contracts = BTreeMap::new();
    for file in &files {
        for service in &file.services {
            for method in &service.methods {
                let fields = requests.get(&method.input).map(|m| m.fields.as_slice()).unwrap_or_default();
                let name = format!("{}.{}/{}", file.package, service.name, method.name);
                contracts.insert(name, contract(method, fields));
            }
        }
    }
    contracts
}

fn contract(method: &descriptor::Method, fields: &[descriptor::Field]) -> Contract {
    let numbered = |is: fn(&descriptor::FieldOptions) -> bool| {
        fields.iter().find(|field| field.options.as_ref().is_some_and(is)).map(|field| field.number)
    };
    let audience = method.options.as_ref().map(descriptor::MethodOptions::audience).unwrap_or_default();
    let binding = match (numbered(|options| options.binds_merchant), audience) {
        (Some(field), Audience::Unspecified) => Binding::Merchant(field),
        (None, Audience::Platform) => Binding::Platform,
        (None, Audience::Bearer) => Binding::Bearer,
        (None, Audience::Unspecified) | (Some(_), Audience::Platform | Audience::Bearer) => {
            Binding::Undeclared
        }
    };
    Contract { binding, operator: numbered(|options| options.names_operator) }
}

/// The parts of `google/protobuf/descriptor.proto` that are looked at, with our options as fields of their own: the
/// types that come with prost do not keep options that they do not know.
mod descriptor {
    use tael_proto::r#type::v1::Audience;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Files {
        #[prost(message, repeated, tag = "1")]
        pub(super) files: Vec<File>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct File {
        #[prost(string, tag = "2")]
        pub(super) package: String,
        #[prost(message, repeated, tag = "4")]
        pub(super) messages: Vec<Message>,
        #[prost(message, repeated, tag = "6")]
        pub(super) services: Vec<Service>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "2")]
        pub(super) fields: Vec<Field>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Field {
        #[prost(uint32, tag = "3")]
        pub(super) number: u32,
        #[prost(message, optional, tag = "8")]
        pub(super) options: Option<FieldOptions>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct FieldOptions {
        #[prost(bool, tag = "50001")]
        pub(super) binds_merchant: bool,
        #[prost(bool, tag = "50002")]
        pub(super) names_operator: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Service {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "2")]
        pub(super) methods: Vec<Method>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Method {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "2")]
        pub(super) input: String,
        #[prost(message, optional, tag = "4")]
        pub(super) options: Option<MethodOptions>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MethodOptions {
        #[prost(enumeration = "Audience", tag = "50001")]
        pub(super) audience: i32,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::field_descriptor_proto::Type;

    use super::*;

    #[test]
    fn every_rpc_says_whom_it_concerns() {
        let undeclared: Vec<_> = contracts()
            .iter()
            .filter(|(_, c)| c.binding == Binding::Undeclared)
            .map(|(name, _)| name)
            .collect();
        assert!(
            undeclared.is_empty(),
            "state `binds_merchant` of a field of the request or the rpc's `audience`, one of the two: {undeclared:#?}"
        );
    }

    /// A merchant's or operator's name in a request that is not bound would be believed.
    #[test]
    fn a_field_that_names_a_merchant_or_an_operator_is_bound() {
        let set = prost_types::FileDescriptorSet::decode(tael_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut unbound = Vec::new();
        for file in &set.file {
            for service in &file.service {
                for method in &service.method {
                    let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                    let input = method.input_type().trim_start_matches('.');
                    let request = set.file.iter().find_map(|file| {
                        let name = input.strip_prefix(file.package())?.strip_prefix('.')?;
                        file.message_type.iter().find(|message| message.name() == name)
                    });
                    let contract = contracts()[&name];
                    for field in &request.unwrap().field {
                        let number = u32::try_from(field.number()).unwrap();
                        let bound = match field.name() {
                            "merchant_id" if contract.binding != Binding::Platform => {
                                contract.binding == Binding::Merchant(number)
                            }
                            "operator" => contract.operator == Some(number),
                            _ => continue,
                        };
                        if !bound || field.r#type() != Type::String {
                            unbound.push(format!("{name}: {}", field.name()));
                        }
                    }
                }
            }
        }
        assert!(unbound.is_empty(), "{unbound:#?}");
    }
}

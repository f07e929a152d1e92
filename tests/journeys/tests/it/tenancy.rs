//! A merchant's principal reaches its own merchant and nothing else, whatever rpc it calls.
#![expect(clippy::unwrap_used, reason = "a test ends where it finds what must not be")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use sqlx::{AssertSqlSafe, PgPool, Row as _};
use tael::clients::keyed;
use tael_grpc::client::{Channel, Connector};
use tael_grpc::contract::{Binding, Contract, contracts};
use tael_grpc::status::reason;
use tael_ids::MerchantId;
use tael_journeys::{Seller, database, platform};
use tael_proto::merchant::v1::{ExchangeApiKeyRequest, IssueApiKeyRequest};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

/// The databases of the services with state.
const DATABASES: [&str; 6] = ["merchant", "order", "payment", "refund", "settlement", "notification"];

/// Messages as they are, for rpcs that are known by their descriptors only.
#[derive(Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// The descriptors of the contracts.
struct Contracts(FileDescriptorSet);

impl Contracts {
    fn read() -> Self {
        Self(FileDescriptorSet::decode(tael_proto::FILE_DESCRIPTOR_SET).unwrap())
    }

    /// A message, unless it is one within another: the entries of maps are left out.
    fn message(&self, name: &str) -> Option<&DescriptorProto> {
        self.0.file.iter().find_map(|file| {
            let name = name.trim_start_matches('.').strip_prefix(file.package())?.strip_prefix('.')?;
            file.message_type.iter().find(|message| message.name() == name)
        })
    }

    fn request_of(&self, rpc: &str) -> &DescriptorProto {
        let (service, method) = rpc.split_once('/').unwrap();
        let found = self.0.file.iter().find_map(|file| {
            let name = service.strip_prefix(file.package())?.strip_prefix('.')?;
            let service = file.service.iter().find(|service| service.name() == name)?;
            service.method.iter().find(|found| found.name() == method)
        });
        self.message(found.unwrap().input_type()).unwrap()
    }

    /// Fills in a message: texts by the names of their fields, everything else with a value that is not empty.
    fn filled(&self, message: &DescriptorProto, texts: &BTreeMap<&str, String>, depth: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut oneofs = Vec::new();
        for field in &message.field {
            // The first of those of which only one may be set.
            if let Some(index) = field.oneof_index {
                if oneofs.contains(&index) {
                    continue;
                }
                oneofs.push(index);
            }
            let number = u32::try_from(field.number()).unwrap();
            match field.r#type() {
                Type::String => {
                    let text = texts.get(field.name()).cloned().unwrap_or_else(|| "x".to_owned());
                    prost::encoding::string::encode(number, &text, &mut bytes);
                }
                Type::Message if depth < 4 && !field.type_name().starts_with(".google.") => {
                    let Some(inner) = self.message(field.type_name()) else { continue };
                    let inner = self.filled(inner, texts, depth + 1);
                    prost::encoding::bytes::encode(number, &inner, &mut bytes);
                }
                Type::Enum | Type::Int32 | Type::Int64 | Type::Uint32 | Type::Uint64 | Type::Bool
                    if field.label() != Label::Repeated =>
                {
                    prost::encoding::uint64::encode(number, &1, &mut bytes);
                }
                _ => {}
            }
        }
        bytes
    }
}

/// Where an rpc is served; one of several places for those that every service serves.
fn address(rpc: &str) -> SocketAddr {
    let at = platform();
    match rpc.split('.').nth(1).unwrap() {
        "merchant" => at.merchant,
        "order" => at.order,
        "payment" | "audit" => at.payment,
        "refund" => at.refund,
        "settlement" => at.settlement,
        "notification" | "event" => at.notification,
        other => panic!("where is {other} served?"),
    }
}

async fn call(rpc: &str, message: Vec<u8>, token: &str) -> Result<Vec<u8>, Status> {
    let channel: Channel = Connector::default().connect(&format!("http://{}", address(rpc))).unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let mut request: Request<Vec<u8>> = keyed(message);
    request.metadata_mut().insert(tael_principal::METADATA, token.parse().unwrap());
    let path = format!("/{rpc}").parse().unwrap();
    client.unary(request, path, Bytes).await.map(tonic::Response::into_inner)
}

/// Everything that the databases hold of a merchant, by table: how many rows and a digest of them.
async fn holdings(databases: &[(&str, PgPool)], merchant_id: &str) -> BTreeMap<String, String> {
    let merchant_id = merchant_id.parse::<MerchantId>().unwrap().uuid();
    let mut holdings = BTreeMap::new();
    for (service, pool) in databases {
        let tables = sqlx::query(
            "select c.relname::text as name from pg_attribute a join pg_class c on c.oid = a.attrelid
             join pg_namespace n on n.oid = c.relnamespace
             where a.attname = 'merchant_id' and c.relkind in ('r', 'p') and n.nspname = 'public'",
        );
        for table in tables.fetch_all(pool).await.unwrap() {
            let table: String = table.get("name");
            let sql = format!(
                "select count(*)::text || ' ' || coalesce(md5(string_agg(t::text, ',' order by t::text)), '')
                 from {table} t where merchant_id = $1"
            );
            let digest: String =
                sqlx::query_scalar(AssertSqlSafe(sql)).bind(merchant_id).fetch_one(pool).await.unwrap();
            holdings.insert(format!("{service}.{table}"), digest);
        }
    }
    holdings
}

/// The same, once nothing changes any more by itself.
async fn holdings_at_rest(databases: &[(&str, PgPool)], merchant_id: &str) -> BTreeMap<String, String> {
    let before = std::cell::RefCell::new(BTreeMap::new());
    tael_testkit::eventually("the merchant's books to rest", || async {
        let now = holdings(databases, merchant_id).await;
        let rests = *before.borrow() == now;
        *before.borrow_mut() = now.clone();
        rests.then_some(now)
    })
    .await
}

#[tokio::test]
async fn a_merchants_principal_reaches_nothing_of_another_by_any_rpc() {
    let mut attacker = Seller::open().await;
    let mut victim = Seller::open().await;
    let (order, payment) = victim.sell().await;
    let issue = IssueApiKeyRequest { merchant_id: attacker.shop.id(), label: "attack".to_owned() };
    let secret = attacker.clients.api_key.issue_api_key(keyed(issue)).await.unwrap().into_inner().secret;
    let exchange = ExchangeApiKeyRequest { secret };
    let token = attacker.clients.api_key.exchange_api_key(exchange).await.unwrap().into_inner().token;

    let line_id = order.lines[0].line_id.clone();
    let mut texts = BTreeMap::from([
        ("merchant_id", victim.shop.id()),
        ("order_id", order.order_id.clone()),
        ("line_id", line_id),
        ("payment_id", payment.payment_id.clone()),
        ("channel_account_id", victim.shop.channel_account.channel_account_id.clone()),
        ("currency", "CNY".to_owned()),
        ("reason", "an attack".to_owned()),
        ("operator", "mallory".to_owned()),
    ]);
    let mut databases = Vec::new();
    for service in DATABASES {
        databases.push((service, database(service).await));
    }
    let before = holdings_at_rest(&databases, &victim.shop.id()).await;
    assert!(before["order.orders"].starts_with("1 "), "{before:#?}");

    let descriptors = Contracts::read();
    for (rpc, Contract { binding, .. }) in contracts() {
        let request = descriptors.request_of(rpc);
        texts.insert("merchant_id", victim.shop.id());
        let others = call(rpc, descriptors.filled(request, &texts, 0), &token).await;
        match binding {
            Binding::Merchant(_) => {
                let refused = others.expect_err(rpc);
                assert_eq!(
                    (refused.code(), reason(&refused).as_deref()),
                    (Code::NotFound, Some("MERCHANT_NOT_FOUND")),
                    "{rpc}: {refused:?}"
                );
                // As its own, another's order, payment or account is as unknown as one that does not exist.
                texts.insert("merchant_id", String::new());
                let own = call(rpc, descriptors.filled(request, &texts, 0), &token).await;
                if let Ok(answer) = own {
                    let victims = [victim.shop.id(), order.order_id.clone(), payment.payment_id.clone()];
                    for id in victims {
                        assert!(
                            !answer.windows(id.len()).any(|part| part == id.as_bytes()),
                            "{rpc} told {id}"
                        );
                    }
                }
            }
            Binding::Platform => {
                let refused = others.expect_err(rpc);
                assert_eq!(
                    (refused.code(), reason(&refused).as_deref()),
                    (Code::PermissionDenied, Some("PRINCIPAL_NOT_ALLOWED")),
                    "{rpc}: {refused:?}"
                );
            }
            // These ask for no principal: what the request holds decides.
            Binding::Bearer => {}
            Binding::Undeclared => panic!("{rpc} does not say whom it concerns"),
        }
    }
    assert_eq!(holdings(&databases, &victim.shop.id()).await, before, "a refused call had an effect");
}

//! The gRPC service around a service's facts.

use std::sync::Arc;

use sqlx::PgPool;
use tael_grpc::fields::Fields;
use tael_grpc::status::invalid_field;
use tael_ids::MerchantId;
use tael_proto::audit::v1::fact_service_server::{FactService, FactServiceServer};
use tael_proto::audit::v1::{Fact, FactKind, ReadFactsRequest, ReadFactsResponse};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::{AuditFacts, FactRow, Range, log};

const DEFAULT_SIZE: u32 = 1000;
const MAX_SIZE: u32 = 5000;

/// Serves a service's facts. Cheap to clone.
#[derive(Debug)]
pub struct Auditable<F> {
    pool: PgPool,
    facts: Arc<F>,
}

impl<F> Clone for Auditable<F> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), facts: self.facts.clone() }
    }
}

impl<F: AuditFacts> Auditable<F> {
    /// Serves these facts, and those of the event tables in the service's database.
    pub fn new(pool: PgPool, facts: F) -> Self {
        Self { pool, facts: Arc::new(facts) }
    }

    /// Returns the gRPC service.
    pub fn server(&self) -> FactServiceServer<Self> {
        FactServiceServer::new(self.clone())
    }

    async fn read(&self, kind: FactKind, range: Range) -> Result<Option<Vec<FactRow>>, sqlx::Error> {
        match kind {
            FactKind::Event => log::events(&self.pool, range).await.map(Some),
            FactKind::DeadLetter => log::dead_letters(&self.pool, range).await.map(Some),
            FactKind::LogStart => log::start(&self.pool, range).await.map(Some),
            own => self.facts.read(own, range).await,
        }
    }
}

#[tonic::async_trait]
impl<F: AuditFacts> FactService for Auditable<F> {
    async fn read_facts(
        &self,
        request: Request<ReadFactsRequest>,
    ) -> Result<Response<ReadFactsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let kind = fields.choice::<FactKind>("kind", request.kind);
        let merchant = fields.optional_id::<MerchantId>("merchant_id", &request.merchant_id);
        let size = match request.page_size {
            0 => Some(DEFAULT_SIZE),
            size => fields.number("page_size", size, 1..=MAX_SIZE),
        };
        let after = if request.page_token.is_empty() {
            Some(None)
        } else {
            read_token(&request.page_token, request.kind).map_or_else(
                || fields.bad("page_token", "is not of a page of this kind"),
                |after| Some(Some(after)),
            )
        };
        let (kind, merchant, size, after) = fields.finish(|| Some((kind?, merchant?, size?, after?)))?;

        let merchant = merchant.map(MerchantId::uuid);
        let (after_merchant, after_id) = after.unwrap_or((merchant.unwrap_or(Uuid::nil()), Uuid::nil()));
        let last_merchant = merchant.unwrap_or(Uuid::max());
        let range = Range { after_merchant, after_id, last_merchant, limit: i64::from(size) };
        let found = self.read(kind, range).await.map_err(|error| tael_postgres::status(&error))?;
        let found = found.ok_or_else(|| invalid_field("kind", "is not of this service"))?;

        // A full page may be the last one; then the next is empty.
        let last = found.last().filter(|_| found.len() == size as usize);
        let next_page_token = last.map(|last| write_token(last, request.kind)).unwrap_or_default();
        let facts = found
            .into_iter()
            .map(|found| Fact {
                merchant_id: if found.merchant_id.is_nil() {
                    String::new()
                } else {
                    MerchantId::from_uuid(found.merchant_id).to_string()
                },
                fact: Some(found.fact),
            })
            .collect();
        Ok(Response::new(ReadFactsResponse { facts, next_page_token }))
    }
}

fn write_token(last: &FactRow, kind: i32) -> String {
    format!("{kind}.{}{}", last.merchant_id.simple(), last.id.simple())
}

fn read_token(token: &str, kind: i32) -> Option<(Uuid, Uuid)> {
    let (of, place) = token.split_once('.')?;
    let (merchant, id) = place.split_at_checked(32)?;
    let right = of == kind.to_string() && place.len() == 64;
    right.then(|| Some((Uuid::try_parse(merchant).ok()?, Uuid::try_parse(id).ok()?)))?
}

#[cfg(test)]
mod tests {
    use tael_proto::audit::v1::LogStartFact;
    use tael_proto::audit::v1::fact;

    use super::*;

    #[test]
    fn a_token_reads_back_for_its_kind_only() {
        let (merchant_id, id) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let last = FactRow { merchant_id, id, fact: fact::Fact::LogStart(LogStartFact::default()) };
        let token = write_token(&last, 3);
        assert_eq!(read_token(&token, 3), Some((merchant_id, id)));
        for (token, kind) in [(token.as_str(), 4), ("", 3), ("3.", 3), ("3.zz", 3), (&token[..40], 3)] {
            assert_eq!(read_token(token, kind), None, "{token} {kind}");
        }
    }
}

//! The platform's own money audit, which must find nothing either.

use serde::Serialize;
use tael_grpc::client::Channel;
use tael_proto::audit::v1::money_audit_service_client::MoneyAuditServiceClient;
use tael_proto::audit::v1::{AuditMoneyRequest, audit_money_response};
use tonic::{Code, Status};

use crate::Error;
use crate::caller::words;

/// For how long the audit may look again at what does not agree.
const PATIENCE_MS: u32 = 60_000;
/// Work that is under way for longer is stuck: everything has settled when the audit begins.
const STUCK_AFTER_SECONDS: u32 = 300;

/// What the audit said.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audit {
    /// Every disagreement, in words.
    pub disagreements: Vec<String>,
    /// How many facts were compared, by kind.
    pub facts: Vec<(String, u64)>,
    /// How often everything was looked at.
    pub passes: u32,
}

/// Audits all money, against the channel's bill of the day as well. `None`: this build does not serve the audit.
pub async fn audit(mut client: MoneyAuditServiceClient<Channel>) -> Result<Option<Audit>, Error> {
    let failed = |status: Status| Error::from(format!("the money audit failed: {}", words(&status)));
    let request = AuditMoneyRequest {
        patience_ms: PATIENCE_MS,
        stuck_after_seconds: STUCK_AFTER_SECONDS,
        statements_so_far: true,
        ..AuditMoneyRequest::default()
    };
    let mut parts = match client.audit_money(request).await {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::Unimplemented => return Ok(None),
        Err(status) => return Err(failed(status)),
    };
    let mut audit = Audit::default();
    let mut complete = false;
    while let Some(response) = parts.message().await.map_err(failed)? {
        match response.part {
            Some(audit_money_response::Part::Disagreement(found)) => {
                let kind = found.kind().as_str_name().trim_start_matches("DISAGREEMENT_KIND_");
                audit.disagreements.push(format!(
                    "{kind} {:?}: {} (expected {:?}, is {:?})",
                    found.ids, found.detail, found.expected, found.actual
                ));
            }
            Some(audit_money_response::Part::Summary(summary)) => {
                audit.facts = summary.facts.into_iter().map(|fact| (fact.kind, fact.count)).collect();
                audit.passes = summary.passes;
                complete = true;
            }
            None => {}
        }
    }
    if complete { Ok(Some(audit)) } else { Err("the money audit ended without a summary".into()) }
}

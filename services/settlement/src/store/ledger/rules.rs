//! Posting rules.

use std::sync::Arc;

use sqlx::PgConnection;
use tokio::sync::OnceCell;

use crate::domain::ledger::account::{AccountKind, Direction};
use crate::domain::ledger::rules::{PostingRule, PostingRules};
use crate::domain::ledger::transfer::{Component, TransferKind};

/// The rules, read once, by the first who needs them: they never change. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredRules(Arc<OnceCell<PostingRules>>);

impl StoredRules {
    /// The rules of the kinds of transfers that this build knows; a newer one's are not its business.
    pub(crate) async fn get(&self, conn: &mut PgConnection) -> Result<&PostingRules, sqlx::Error> {
        self.0.get_or_try_init(|| load(conn)).await
    }
}

#[tracing::instrument(name = "db.posting_rule.load", skip_all)]
async fn load(conn: &mut PgConnection) -> Result<PostingRules, sqlx::Error> {
    let rows = sqlx::query!("select transfer_kind, component, account_kind, direction from posting_rule")
        .fetch_all(conn)
        .await?;
    Ok(PostingRules::new(rows.into_iter().filter_map(|row| {
        let rule = PostingRule {
            component: Component::from_name(&row.component)?,
            account: AccountKind::from_name(&row.account_kind)?,
            direction: Direction::from_name(&row.direction)?,
        };
        Some((TransferKind::from_name(&row.transfer_kind)?, rule))
    })))
}

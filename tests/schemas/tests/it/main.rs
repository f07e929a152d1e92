//! The old build and the new schema, and the new build and old rows.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod catalogue;
mod expand;
mod old_rows;
mod rights;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tael_runtime::{Schema, Service};

/// The services' names and schemas.
fn services() -> [(&'static str, &'static [Schema]); 7] {
    fn of<S: Service>() -> (&'static str, &'static [Schema]) {
        (S::NAME, S::SCHEMAS)
    }
    [
        of::<tael_audit::App>(),
        of::<tael_merchant::App>(),
        of::<tael_notification::App>(),
        of::<tael_order::App>(),
        of::<tael_payment::App>(),
        of::<tael_refund::App>(),
        of::<tael_settlement::App>(),
    ]
}

/// Migrates no further than to a level, as a build of that level would.
async fn migrate_to(pool: &PgPool, migrator: &Migrator, level: i64) {
    let known = migrator.iter().filter(|migration| migration.version <= level).cloned().collect();
    let mut build = Migrator::with_migrations(known);
    build.dangerous_set_table_name(migrator.table_name.clone());
    tael_postgres::migrate(pool, &build).await.unwrap();
}

//! What a process tells of itself, whatever its service does.

use opentelemetry::KeyValue;
use sqlx::PgPool;

/// Tells what was built, as a gauge that is always 1.
pub(crate) fn tell_build(version: &'static str, commit: String) {
    let info = tael_telemetry::meter()
        .u64_gauge("tael.build.info")
        .with_description("1, with the version and the commit that the binary was built from")
        .build();
    info.record(1, &[KeyValue::new("version", version), KeyValue::new("commit", commit)]);
}

/// Tells how many connections a service's pool has.
pub(crate) fn tell_connections(service: &'static str, pool: &PgPool) {
    let pool = pool.clone();
    let attributes = |state: &'static str| {
        [KeyValue::new("db.client.connection.pool.name", service), KeyValue::new("state", state)]
    };
    let (idle, used) = (attributes("idle"), attributes("used"));
    let [of_pool, _] = idle.clone();
    let most = pool.options().get_max_connections();
    let meter = tael_telemetry::meter();
    // They live as long as the meter, which asks them at each export.
    let _max = meter
        .u64_observable_gauge("db.client.connection.max")
        .with_unit("{connection}")
        .with_description("Connections to PostgreSQL that there may be at most")
        .with_callback(move |gauge| gauge.observe(u64::from(most), std::slice::from_ref(&of_pool)))
        .build();
    let _connections = meter
        .u64_observable_gauge("db.client.connection.count")
        .with_unit("{connection}")
        .with_description("Connections to PostgreSQL")
        .with_callback(move |gauge| {
            // The two are not read in one moment.
            let resting = pool.num_idle() as u64;
            gauge.observe(resting, &idle);
            gauge.observe(u64::from(pool.size()).saturating_sub(resting), &used);
        })
        .build();
}

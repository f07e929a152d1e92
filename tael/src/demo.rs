//! The main journey, played for real: every figure printed is read back from the services.

mod books;
mod report;
mod steps;

use std::future::Future;
use std::time::Duration;

use report::Report;
use tael_proto::audit::v1::AuditMoneyRequest;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::Error;
use crate::audit;
use crate::clients::Clients;
use crate::platform::Addresses;
use crate::shop::WebhookReceiver;
use crate::traces::Collector;

/// How long a step may take before the demo gives up on it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Plays all steps and says whether every check passed.
pub async fn play(addresses: &Addresses, collector: &Collector) -> Result<bool, Error> {
    let mut report = Report::default();
    let mut clients = Clients::connect(addresses)?;
    let receiver = WebhookReceiver::start().await?;

    let shop = steps::open_shop(&mut report, &mut clients, &receiver).await?;
    // Everything that one journey causes, in whichever service, belongs to this span's trace.
    let journey = tracing::info_span!("demo journey", otel.name = "one order, from price to refund");
    let trace_id = journey.in_scope(tael_telemetry::current_trace_id).unwrap_or_default();
    let order = steps::create_order(&mut report, &mut clients, &shop).instrument(journey.clone()).await?;
    let payment =
        steps::create_payment(&mut report, &mut clients, &shop, &order).instrument(journey.clone()).await?;
    steps::pay(&mut report, &mut clients, &shop, &payment).await?;
    let order = steps::paid(&mut report, &mut clients, &shop, &order, &payment, &receiver).await?;
    steps::redeem(&mut report, &mut clients, &shop, &order).instrument(journey.clone()).await?;
    steps::refund(&mut report, &mut clients, &shop, &order, &receiver, &journey).await?;
    drop(journey);
    steps::lost_notification(&mut report, &mut clients, &shop).await?;
    books::settle(&mut report, &mut clients, &shop).await?;
    let request = AuditMoneyRequest { statements_so_far: true, ..AuditMoneyRequest::default() };
    let print = |found| crate::say!("    {}", audit::in_words(&found));
    let audited = audit::ask(clients.audit.clone(), request, print).await?;
    report.check("all services, the ledger and the channel agree to the cent", audited.disagreements == 0);
    books::show_trace(&mut report, collector, &trace_id).await?;
    Ok(report.close())
}

/// Waits until `look` finds something; an error that names `what` when it does not come.
async fn eventually<T, F: Future<Output = Result<Option<T>, Error>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<T, Error> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > give_up {
            return Err(format!("waited {} s in vain for {what}", PATIENCE.as_secs()).into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

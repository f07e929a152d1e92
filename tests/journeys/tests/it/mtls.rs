//! The platform with mutual TLS between all services.

use tael::audit;
use tael::clients::{Clients, keyed};
use tael::platform::{Platform, Settings};
use tael::shop::Shop;
use tael_grpc::caller::Caller;
use tael_grpc::status::reason;
use tael_journeys::{Seller, cny, settings};
use tael_proto::audit::v1::AuditMoneyRequest;
use tael_proto::order::v1::RefundProgress;
use tael_proto::payment::v1::RefundPaymentRequest;
use tael_proto::refund::v1::{CreateRefundRequest, FullRefund, create_refund_request};
use tael_testkit::{Authority, Mounted, new_key};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_journey_goes_from_service_to_service_and_nobody_takes_a_step_that_is_not_theirs() {
    let authority = Authority::new();
    let folder = std::env::temp_dir().join(new_key());
    let mount = |caller: Caller| {
        Mounted::at(folder.join(caller.name()), &authority.certify(caller.name()), &[&authority])
    };
    let mounted = Caller::ALL.map(mount);
    let platform = Settings { certificates: Some(folder.clone()), ..settings("tael_journeys_mtls") };
    let platform = Platform::start(platform).await.unwrap();
    let of = |caller| &mounted[Caller::ALL.iter().position(|c| *c == caller).unwrap()];
    let clients =
        async |caller| Clients::connect_as(of(caller).identity().await, &platform.addresses).unwrap();
    let (mut operator, backend) = (clients(Caller::Operator).await, clients(Caller::Backend).await);

    // Whoever shows nothing is not heard.
    let mut stranger = Clients::connect(&platform.addresses).unwrap();
    assert!(Shop::open(&mut stranger, "stranger").await.is_err());

    // The operator opens the shop, the back-end sells, the channel tells the gateway, and the refund goes back.
    let shop = Shop::open(&mut operator, "mtls").await.unwrap();
    let mut seller = Seller { clients: backend, shop };
    let (order, payment) = seller.sell().await;

    // The back-end can't give money back past the refund service; nor can a service that has nothing to do with it.
    for caller in [Caller::Backend, Caller::Operator, Caller::Settlement] {
        let past = RefundPaymentRequest {
            merchant_id: seller.shop.id(),
            payment_id: payment.payment_id.clone(),
            refund_id: "rfd_01k9zzzzzzzzzzzzzzzzzzzzzz".to_owned(),
            amount: cny(10_00),
            reason: "past the refund service".to_owned(),
        };
        let refused = clients(caller).await.refund_execution.refund_payment(keyed(past)).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{caller}: {refused:?}");
        assert_eq!(reason(&refused).as_deref(), Some("CALLER_NOT_ALLOWED"));
    }
    let refund = CreateRefundRequest {
        merchant_id: seller.shop.id(),
        order_id: order.order_id.clone(),
        scope: Some(create_refund_request::Scope::Full(FullRefund {})),
        reason: "as it should be".to_owned(),
        force_reason: String::new(),
    };
    seller.clients.refund.create_refund(keyed(refund)).await.unwrap();
    let refunded = |order: &tael_proto::order::v1::Order| order.refund_progress() == RefundProgress::Full;
    seller.order_when(&order.order_id, "to be refunded", refunded).await;

    // Settlement asks all others for their facts.
    let request = AuditMoneyRequest {
        merchant_id: seller.shop.id(),
        patience_ms: 20_000,
        stuck_after_seconds: 3600,
        statements_so_far: true,
        ..AuditMoneyRequest::default()
    };
    let mut found = Vec::new();
    let summary = audit::ask(operator.audit.clone(), request, |one| found.push(audit::in_words(&one))).await;
    assert_eq!(summary.unwrap().disagreements, 0, "{found:?}");
    platform.stop().await.unwrap();
    drop(mounted);
    drop(std::fs::remove_dir(folder));
}

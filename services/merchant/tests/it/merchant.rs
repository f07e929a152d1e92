use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, OrderId};
use tael_proto::event::v1::ReadEventsRequest;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::merchant::v1::{
    ApproveMerchantRequest, GetMerchantRequest, ListMerchantsRequest, MerchantState, RegisterMerchantRequest,
};
use tael_testkit::{eventually, keyed};
use tonic::Code;

use crate::fixture::{registration, start};

#[tokio::test]
async fn a_registered_merchant_awaits_approval() {
    let mut service = start().await;
    let merchant = service.register("茶 & Tea").await;
    assert_eq!(merchant.name, "茶 & Tea");
    assert_eq!(merchant.state(), MerchantState::PendingApproval);
    assert_eq!(merchant.time_zone, "Asia/Shanghai");
    assert!(merchant.approve_time.is_none());

    let request = GetMerchantRequest { merchant_id: merchant.merchant_id.clone() };
    let seen = service.client.get_merchant(request).await.unwrap().into_inner().merchant.unwrap();
    assert_eq!(seen, merchant);
}

#[tokio::test]
async fn approval_happens_once_and_stays() {
    let mut service = start().await;
    let id = service.register("Shop").await.merchant_id;
    let approve = || keyed(ApproveMerchantRequest { merchant_id: id.clone() });
    let first = service.client.approve_merchant(approve()).await.unwrap().into_inner().merchant.unwrap();
    assert_eq!(first.state(), MerchantState::Approved);
    let second = service.client.approve_merchant(approve()).await.unwrap().into_inner().merchant.unwrap();
    assert_eq!(second, first);

    let events = eventually("both events", || {
        let mut log = EventLogServiceClient::new(service.running.channel());
        async move {
            let events = log.read_events(ReadEventsRequest::default()).await.unwrap().into_inner().events;
            (events.len() == 2).then_some(events)
        }
    })
    .await;
    let kinds: Vec<Kind> = events.into_iter().map(|e| e.payload.unwrap().kind.unwrap()).collect();
    assert!(
        matches!(&kinds[..], [Kind::MerchantRegistered(_), Kind::MerchantApproved(a)] if a.merchant_id == id)
    );
}

#[tokio::test]
async fn bad_fields_are_named() {
    let mut service = start().await;
    let cases = [
        (registration(""), "name"),
        (registration(&"x".repeat(129)), "name"),
        (registration(" padded"), "name"),
        (registration("line\nbreak"), "name"),
        (RegisterMerchantRequest { name: "Shop".into(), time_zone: "Mars/Olympus".into() }, "time_zone"),
    ];
    for (request, field) in cases {
        let error = service.client.register_merchant(keyed(request.clone())).await.unwrap_err();
        assert_eq!(
            (error.code(), bad_fields(&error)),
            (Code::InvalidArgument, vec![field.to_owned()]),
            "{request:?}"
        );
    }
    let error = service.client.register_merchant(registration("Shop")).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["idempotency-key"]);
}

#[tokio::test]
async fn unknown_and_malformed_ids_are_told_apart() {
    let mut service = start().await;
    for (id, code) in [
        (String::new(), Code::InvalidArgument),
        ("nonsense".to_owned(), Code::InvalidArgument),
        (OrderId::new().to_string(), Code::InvalidArgument),
        (MerchantId::new().to_string(), Code::NotFound),
    ] {
        let get =
            service.client.get_merchant(GetMerchantRequest { merchant_id: id.clone() }).await.unwrap_err();
        let approve =
            service.client.approve_merchant(keyed(ApproveMerchantRequest { merchant_id: id.clone() }));
        for error in [get, approve.await.unwrap_err()] {
            assert_eq!(error.code(), code, "{id:?}");
            match code {
                Code::NotFound => assert_eq!(reason(&error).as_deref(), Some("MERCHANT_NOT_FOUND")),
                _ => assert_eq!(bad_fields(&error), ["merchant_id"]),
            }
        }
    }
}

#[tokio::test]
async fn merchants_are_listed_newest_first_page_by_page() {
    let mut service = start().await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        ids.insert(0, service.register(name).await.merchant_id);
    }
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListMerchantsRequest { page_size: 2, page_token };
        let page = service.client.list_merchants(request).await.unwrap().into_inner();
        seen.extend(page.merchants.into_iter().map(|m| m.merchant_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, ids);

    for (page_size, page_token, field) in [(101, "", "page_size"), (0, "elsewhere", "page_token")] {
        let request = ListMerchantsRequest { page_size, page_token: page_token.to_owned() };
        assert_eq!(bad_fields(&service.client.list_merchants(request).await.unwrap_err()), [field]);
    }
}

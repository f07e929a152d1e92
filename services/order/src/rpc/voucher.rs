//! Vouchers.

use tael_idempotency::Call;
use tael_proto::order::v1::voucher_service_server::VoucherService;
use tael_proto::order::v1::{
    GetVoucherRequest, GetVoucherResponse, RedeemVoucherRequest, RedeemVoucherResponse,
    ReleaseVoucherUsesRequest, ReleaseVoucherUsesResponse, ReserveVoucherUsesRequest,
    ReserveVoucherUsesResponse, VoidVoucherRequest, VoidVoucherResponse, Voucher,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl VoucherService for Rpc {
    async fn get_voucher(
        &self,
        request: Request<GetVoucherRequest>,
    ) -> Result<Response<GetVoucherResponse>, Status> {
        let (merchant_id, code) = parse::get_voucher(&request.into_inner())?;
        let voucher = self.orders.get_voucher(merchant_id, code).await?;
        tael_telemetry::record("tael.order_id", voucher.order_id);
        Ok(Response::new(GetVoucherResponse { voucher: Some(convert::voucher(&voucher)) }))
    }

    async fn redeem_voucher(
        &self,
        request: Request<RedeemVoucherRequest>,
    ) -> Result<Response<RedeemVoucherResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, new) = parse::redeem_voucher(&request)?;
        let call = Call::new(&merchant_id, "RedeemVoucher", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |key| async move {
                let made = orders.redeem(merchant_id, new, key).await?;
                tael_telemetry::record("tael.order_id", made.voucher.order_id);
                Ok(RedeemVoucherResponse {
                    redemption_id: made.id.to_string(),
                    voucher: Some(convert::voucher(&made.voucher)),
                })
            })
            .await
    }

    async fn void_voucher(
        &self,
        request: Request<VoidVoucherRequest>,
    ) -> Result<Response<VoidVoucherResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, new) = parse::void_voucher(&request)?;
        let call = Call::new(&merchant_id, "VoidVoucher", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |key| async move {
                let voucher = orders.void_voucher(merchant_id, new, key).await?;
                tael_telemetry::record("tael.order_id", voucher.order_id);
                // A code is worth money: who takes uses back has no need of it.
                let voucher = Voucher { code: String::new(), ..convert::voucher(&voucher) };
                Ok(VoidVoucherResponse { voucher: Some(voucher) })
            })
            .await
    }

    async fn reserve_voucher_uses(
        &self,
        request: Request<ReserveVoucherUsesRequest>,
    ) -> Result<Response<ReserveVoucherUsesResponse>, Status> {
        let request = request.into_inner();
        let scope = parse::reserve_voucher_uses(&request)?;
        // Its answer is not remembered in Redis: what becomes of the reservation is told by events, not by calls.
        let call = Call::with_key(&scope.merchant_id, "ReserveVoucherUses", &request.refund_id, &request);
        let reservation = self.orders.reserve_uses(scope, call.guard()).await?;
        let reservation = Some(convert::reservation(reservation));
        Ok(Response::new(ReserveVoucherUsesResponse { reservation }))
    }

    async fn release_voucher_uses(
        &self,
        request: Request<ReleaseVoucherUsesRequest>,
    ) -> Result<Response<ReleaseVoucherUsesResponse>, Status> {
        let (merchant_id, order_id, refund_id) = parse::release_voucher_uses(&request.into_inner())?;
        let reservation = self.orders.release_uses(merchant_id, order_id, refund_id).await?;
        let reservation = Some(convert::reservation(reservation));
        Ok(Response::new(ReleaseVoucherUsesResponse { reservation }))
    }
}

//! The contracts in `proto/` as Rust types, clients and servers. Generated only; no logic.
#![allow(clippy::all, clippy::pedantic, missing_docs)]

/// Types that several services share.
pub mod r#type {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.r#type.v1");
    }
}

/// The event contract.
pub mod event {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.event.v1");
    }
}

/// Merchants and API keys.
pub mod merchant {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.merchant.v1");
    }
}

/// Orders, prices, vouchers.
pub mod order {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.order.v1");
    }
}

/// Payments and channels.
pub mod payment {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.payment.v1");
    }
}

/// Refunds and their policy.
pub mod refund {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.refund.v1");
    }
}

/// Ledger, batches, reconciliation.
pub mod settlement {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.settlement.v1");
    }
}

/// The money audit, and what services show to it.
pub mod audit {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.audit.v1");
    }
}

/// Webhooks.
pub mod notification {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("tael.notification.v1");
    }
}

/// All contracts as an encoded `FileDescriptorSet`, for gRPC reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

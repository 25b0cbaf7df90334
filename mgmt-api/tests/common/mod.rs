//! What the tests in front of a real control plane share.

use controlplane::northbound::Northbound;
use mgmt_api::config::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A store of a configuration; nothing of it is left on the disk.
pub fn store(yaml: &str, northbound: Northbound) -> Arc<Store> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let dir = std::env::temp_dir().join(format!("mgmt-api-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("softwired.yaml");
    std::fs::write(&file, yaml).unwrap();
    let store = Store::open(&file, &dir, 1, northbound).unwrap();
    std::fs::remove_dir_all(dir).unwrap();
    store
}

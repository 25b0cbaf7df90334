//! Huge pages for ordinary memory: the kernel's transparent ones, which cost nothing until they are used and are no part of what
//! the EAL has reserved. A table that packets look into at random is mapped by few entries of the TLB then; of 4 KiB pages
//! each look would be a walk through the page tables, which themselves are not in the cache.

/// Size of a huge page on x86-64.
const HUGE: usize = 2 << 20;

/// Asks for huge pages where `memory` has not been touched. Only a hint: where the kernel has none, or not enough in one place,
/// it takes small ones.
pub fn advise<T>(memory: &[T]) {
    advise_as(memory, libc::MADV_HUGEPAGE);
}

/// An empty vector with room for `capacity` in huge pages: a table that does not move when it grows, and takes memory as it does.
pub fn table<T>(capacity: usize) -> Vec<T> {
    let mut table = Vec::with_capacity(capacity);
    advise(table.spare_capacity_mut());
    table
}

/// Like [`advise`] for memory that is in use: what it holds moves into huge pages now (Linux 6.1; before, the kernel does it in the
/// background).
pub fn collapse<T>(memory: &[T]) {
    advise_as(memory, libc::MADV_HUGEPAGE);
    advise_as(memory, libc::MADV_COLLAPSE);
}

/// About the huge pages that lie within `memory` as a whole.
fn advise_as<T>(memory: &[T], advice: i32) {
    let (address, len) = (memory.as_ptr().addr(), size_of_val(memory));
    let skipped = address.next_multiple_of(HUGE) - address;
    let Some(len) = len.checked_sub(skipped).map(|len| len & !(HUGE - 1)).filter(|len| *len > 0) else { return };
    let start = memory.as_ptr().cast::<u8>().wrapping_add(skipped).cast_mut();
    // SAFETY: the range lies within a borrowed slice, and neither advice changes what memory holds. A refusal does no harm.
    let _ = unsafe { libc::madvise(start.cast(), len, advice) };
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Octets of huge pages in this process.
    fn huge() -> Option<usize> {
        let text = std::fs::read_to_string("/proc/self/smaps_rollup").ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix("AnonHugePages:"))?;
        Some(1024 * line.split_whitespace().next()?.parse::<usize>().ok()?)
    }

    #[test]
    fn tables_get_huge_pages_before_and_after_they_are_filled() {
        let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        let mut untouched: Vec<u64> = table(4 * HUGE);
        let before = huge().unwrap();
        untouched.resize(4 * HUGE, 1);
        let filled = huge().unwrap();
        let touched = vec![7u8; 8 * HUGE];
        collapse(&touched);
        assert!(untouched.iter().all(|n| *n == 1) && touched.iter().all(|n| *n == 7));
        if setting.contains("[never]") {
            println!("skipped: this kernel gives no transparent huge pages");
            return;
        }
        assert!(filled >= before + 30 * HUGE, "{before} {filled}");
    }

    #[test]
    fn what_holds_no_huge_page_is_left_alone() {
        advise::<u8>(&[]);
        advise(&[1u8; 100]);
        collapse(&vec![1u8; HUGE - 4096]);
    }
}

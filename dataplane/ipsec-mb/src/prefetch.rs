//! Cache hints.

use std::ops::Range;

/// Asks for some of the cache lines of what is at `value` (no more than it has). Only a hint: it changes nothing, whatever the
/// address. A core has some 24 lines on their way at a time, and forgets what it is asked for beyond that: it is asked little by
/// little, between other work.
#[inline(always)]
pub fn prefetch<T>(value: *const T, lines: Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    for line in lines.start..lines.end.min(size_of::<T>().div_ceil(64)) {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(value.cast::<i8>().wrapping_add(64 * line)) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (value, lines);
}

//! What the processor can do, and functions compiled once for each level of it.

/// Instruction sets that the kernels know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isa {
    /// 512-bit vectors (AVX-512 F, VL, BW, DQ) with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 256-bit vectors with fused multiply-add and 16-bit floats.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Whatever the compiler makes of it.
    Portable,
}

impl Isa {
    /// The best this processor has.
    pub(crate) fn detect() -> Self {
        Self::available().next().unwrap_or(Self::Portable)
    }

    /// All that this processor has, best first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        #[cfg(target_arch = "x86_64")]
        let avx2 =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        #[cfg(target_arch = "x86_64")]
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq");
        #[cfg(target_arch = "x86_64")]
        let fast = [(avx2 && avx512, Self::Avx512), (avx2, Self::Avx2)];
        #[cfg(not(target_arch = "x86_64"))]
        let fast: [(bool, Self); 0] = [];
        fast.into_iter().filter_map(|(has, isa)| has.then_some(isa)).chain([Self::Portable])
    }
}

/// Defines `fn $name(isa, args)` whose `body` is compiled for every instruction set: the body must be `inline(always)`
/// code over slices, which the compiler vectorizes. All versions compute the same bits.
macro_rules! for_each_isa {
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:path) => {
        $(#[$doc])*
        #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "features are checked at run time"))]
        pub(crate) fn $name(isa: $crate::engine::cpu::isa::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body($($arg),*)
            }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: `Isa::detect` saw the features on this processor.
                $crate::engine::cpu::isa::Isa::Avx512 => unsafe { avx512($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::engine::cpu::isa::Isa::Avx2 => unsafe { avx2($($arg),*) },
                $crate::engine::cpu::isa::Isa::Portable => $body($($arg),*),
            }
        }
    };
}
pub(crate) use for_each_isa;

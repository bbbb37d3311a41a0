//! Which instructions of a program nobody has compared with hardware: those of sm_100 and later, which the machine
//! runs from the PTX ISA's description alone.

/// The family of an instruction as written that was never compared with hardware, if it is of one.
pub(crate) fn not_compared(text: &str) -> Option<&'static str> {
    // Behind the guard.
    let text = match text.strip_prefix('@') {
        Some(guarded) => guarded.split_once(' ')?.1,
        None => text,
    };
    let mnemonic = text.split([' ', ';']).next()?;
    let has = |word: &str| mnemonic.split('.').any(|part| part == word);
    let (opcode, _) = mnemonic.split_once('.')?;
    match opcode {
        "tcgen05" => Some("tcgen05"),
        "clusterlaunchcontrol" => Some("clusterlaunchcontrol"),
        "add" | "sub" | "mul" | "fma" if has("f32x2") => Some("f32x2"),
        "redux" if has("f32") => Some("redux.f32"),
        "cvt" if has("rs") => Some("cvt.rs"),
        "cvt"
            if ["e2m1x2", "e2m1x4", "e2m3x2", "e2m3x4", "e3m2x2", "e3m2x4", "ue8m0x2"]
                .iter()
                .any(|ty| has(ty)) =>
        {
            Some("cvt of 4- and 6-bit floats")
        }
        "ldmatrix" | "stmatrix" if has("m16n16") || has("m8n16") || has("m16n8") => Some("ldmatrix.b8"),
        "st" if has("bulk") => Some("st.bulk"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::not_compared;

    #[test]
    fn families_are_found_behind_guards() {
        assert_eq!(not_compared("@!%p tcgen05.mma.cta_group::1.kind::f16 [%r1], %rd1;"), Some("tcgen05"));
        assert_eq!(not_compared("fma.rn.f32x2 %rd1, %rd2, %rd3, %rd4;"), Some("f32x2"));
        assert_eq!(not_compared("redux.sync.add.u32 %r1, %r2, -1;"), None);
        assert_eq!(not_compared("ret;"), None);
    }
}

//! How a process learns that it is a worker.

/// Set in a worker: its [`Role`].
pub(super) const VARIABLE: &str = "KERNEL_FACTORY_WORKER";

/// What candidates of a worker run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// The PTX machine.
    Machine,
    /// The GPU of this number.
    Gpu(usize),
}

/// What a worker is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    pub(super) device: DeviceKind,
    /// Bytes that it may have.
    pub(super) memory: Option<u64>,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.device {
            DeviceKind::Machine => f.write_str("machine")?,
            DeviceKind::Gpu(ordinal) => write!(f, "gpu:{ordinal}")?,
        }
        self.memory.map_or(Ok(()), |bytes| write!(f, ",memory={bytes}"))
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let wrong = || {
            format!(
                "`{text}` is no role of a worker, which looks like `gpu:0` or `machine,memory=4000000000`"
            )
        };
        let (device, memory) = text.split_once(",memory=").map_or((text, None), |(d, m)| (d, Some(m)));
        let device = match device.split_once(':') {
            None if device == "machine" => DeviceKind::Machine,
            Some(("gpu", ordinal)) => DeviceKind::Gpu(ordinal.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        let memory = memory.map(|bytes| bytes.parse().map_err(|_| wrong())).transpose()?;
        Ok(Role { device, memory })
    }
}

/// In a process that was started as a worker: serves and does not come back.
pub(crate) fn serve_if_asked() {
    let Some(role) = std::env::var_os(VARIABLE) else { return };
    match role.to_string_lossy().parse() {
        Ok(role) => {
            super::serve::serve(&role);
            std::process::exit(0);
        }
        Err(message) => {
            eprintln!("{VARIABLE}: {message}");
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_read_as_it_is_written() {
        for role in [
            Role { device: DeviceKind::Machine, memory: None },
            Role { device: DeviceKind::Gpu(3), memory: Some(1 << 33) },
        ] {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for text in ["", "gpu", "gpu:", "gpu:x", "machine,memory=", "machine:1", "toaster"] {
            let message = text.parse::<Role>().expect_err(text);
            assert!(message.contains("gpu:0"), "{message}");
        }
    }
}

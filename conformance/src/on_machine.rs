//! A form's answers from the PTX machine.

use factory_ptx::machine::{Kernel, Launch, Memory, Options, run};

use crate::form::Form;

/// What output buffers hold before a form runs, on the GPU too: the bytes between a case's answers stay as they are.
pub const POISON: u8 = 0xcd;

/// Why the machine has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The text does not parse.
    #[error("it does not parse: {0}")]
    Parse(String),
    /// The machine does not know the form.
    #[error("{0}")]
    Unsupported(String),
    /// The machine stopped.
    #[error("{0}")]
    Stop(String),
}

/// Runs a form on the PTX machine with all checks on.
///
/// # Errors
/// When the machine does not know the form, or finds a fault in it.
pub fn answers(form: &Form) -> Result<Vec<u8>, Trouble> {
    let module = factory_ptx::parse(&form.ptx).map_err(|error| Trouble::Parse(error.to_string()))?;
    let kernel = Kernel::new(&module, "form").map_err(|error| Trouble::Unsupported(error.to_string()))?;
    let mut outputs = vec![POISON; form.output_bytes];
    {
        let mut memory = Memory::new();
        let inputs = memory.input("inputs", &form.inputs);
        let out = memory.output("outputs", &mut outputs);
        let scratch = memory.scratch("scratch", form.scratch_bytes.max(16));
        let params = [inputs, out, scratch].iter().flat_map(|address| address.to_le_bytes()).collect();
        let mut launch = Launch::new([form.grid, 1, 1], [form.block, 1, 1], params);
        launch.cluster = [form.cluster, 1, 1];
        launch.shared_bytes = form.shared_bytes;
        run(&kernel, &launch, &mut memory, &Options::default())
            .map_err(|stop| Trouble::Stop(stop.to_string()))?;
    }
    Ok(outputs)
}

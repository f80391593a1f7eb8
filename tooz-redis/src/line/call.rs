//! One script with its keys and arguments.

use redis::{Cmd, cmd};

/// A script of ours. Its text is constant; whatever varies is handed to it as keys and arguments.
#[derive(Debug)]
pub(crate) struct Script {
    name: &'static str,
    source: &'static str,
    sha1: String,
}

impl Script {
    /// A script and the name it goes by in errors.
    pub(crate) fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, sha1: redis::Script::new(source).get_hash().to_owned() }
    }

    /// The name it goes by in errors.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }
}

/// A script to be run. All keys stand in one cluster slot.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) script: &'static Script,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) args: Vec<Vec<u8>>,
}

impl Call {
    /// The call of a script the server knows already.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", self.script.sha1.as_bytes())
    }

    /// The call with the script itself, which teaches it to the server.
    pub(crate) fn by_source(&self) -> Cmd {
        self.command("EVAL", self.script.source.as_bytes())
    }

    fn command(&self, verb: &str, script: &[u8]) -> Cmd {
        let mut command = cmd(verb);
        command.arg(script).arg(self.keys.len());
        for part in self.keys.iter().chain(&self.args) {
            command.arg(part.as_slice());
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new("one", "return 1"));

    #[test]
    fn a_call_names_its_keys_before_its_arguments() {
        let call = Call { script: &SCRIPT, keys: vec![b"k".to_vec()], args: vec![b"a\0".to_vec()] };
        let packed = call.by_hash().get_packed_command();
        let text = String::from_utf8_lossy(&packed);
        assert_eq!(
            text,
            "*5\r\n$7\r\nEVALSHA\r\n$40\r\ne0e1f9fabfc9d4800c877a703b823ac0578ff8db\r\n$1\r\n1\r\n$1\r\nk\r\n$2\r\na\0\r\n"
        );
        assert!(String::from_utf8_lossy(&call.by_source().get_packed_command()).contains("return 1"));
    }
}

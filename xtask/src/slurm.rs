//! One search on two nodes of a Slurm cluster, which lives on this machine for as long as that takes.

use crate::shell::{Failure, apt_install, cargo, find_program, root, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// What the cluster is made of.
const PROGRAMS: [&str; 6] = ["munged", "slurmctld", "slurmd", "srun", "sinfo", "squeue"];
/// The ports of the controller and of the two nodes.
const PORTS: [u16; 3] = [16817, 16818, 16819];

/// Starts a cluster of two nodes, searches on both, compares with a search here, and shows that a search that is killed
/// leaves no job behind.
///
/// # Errors
/// Slurm is not there and cannot be installed, or something is not as it should be.
pub(crate) fn show() -> Result<(), Failure> {
    if !PROGRAMS.iter().all(|name| find(name).is_some()) {
        let help = "there is no Slurm: install slurmctld, slurmd, srun and munge";
        apt_install(&["slurm-wlm", "munge"], help)?;
    }
    run(&mut cargo(&["build", "-p", "factory-cli"]))?;
    let program = root().join("target/debug/cargo-factory");
    let cluster = Cluster::start()?;
    let tune = |candidates: &str, more: &[&str]| {
        let mut command = cluster.command(&program.display().to_string());
        command.args(["factory", "--json", "--dir"]).arg(root().join("examples/rmsnorm"));
        command
            .args(["tune", "--no-seal", "--no-evidence", "--gpu", "off", "--candidates", candidates])
            .args(more);
        command
    };
    let launched = ["--provers", "2", "--launcher", "srun -N1 -n1 --quiet"];
    let start = Instant::now();
    let there = finished(tune("40", &launched))?;
    println!("on two nodes: {:.1} s", start.elapsed().as_secs_f64());
    let start = Instant::now();
    let here = finished(tune("40", &[]))?;
    println!("here: {:.1} s", start.elapsed().as_secs_f64());
    let (there, here) = (winners(&there)?, winners(&here)?);
    if there != here {
        return Err(Failure::Check(format!("the winners differ: {there} on the nodes, {here} here")));
    }
    println!("the same winners: {here}");
    cluster.jobs_end()?;
    // A search that is killed while its workers run.
    let mut killed = tune("4000", &launched);
    killed.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut killed = killed.spawn().map_err(|source| failed("cargo-factory", source))?;
    let two = cluster.wait_for("two jobs", |cluster| Ok(cluster.jobs()?.lines().count() == 2));
    println!("jobs of a search that is about to be killed:\n{}", cluster.jobs()?);
    killed.kill().and_then(|()| killed.wait()).map_err(|source| failed("cargo-factory", source))?;
    two?;
    cluster.jobs_end()?;
    println!("none is left after it");
    Ok(())
}

fn winners(json: &Output) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(&json.stdout);
    let start = text.find("\"winners\"").ok_or_else(|| Failure::Check(format!("no winners: {text}")))?;
    let end = text[start..].find(']').map_or(text.len(), |end| start + end);
    Ok(text[start..end].split_whitespace().collect::<Vec<_>>().join(" "))
}

fn finished(mut command: Command) -> Result<Output, Failure> {
    let output = command.output().map_err(|source| failed("cargo-factory", source))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::Check(format!("a search ended with {}: {said}", output.status)))
}

fn failed(command: &str, source: std::io::Error) -> Failure {
    Failure::Start { command: command.to_owned(), source }
}

/// Daemons lie where a user's `PATH` need not lead.
fn find(name: &str) -> Option<PathBuf> {
    find_program(&[name], &["/usr/sbin", "/usr/bin"])
}

/// The daemons; they end with it.
struct Cluster {
    folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Result<Cluster, Failure> {
        let folder = tempfile::tempdir().map_err(|source| failed("mktemp", source))?;
        let cluster = Cluster { folder };
        let at = cluster.path();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let write = |name: &str, content: &[u8]| {
            fs::write(at.join(name), content).map_err(|source| failed(name, source))
        };
        fs::create_dir(at.join("state")).map_err(|source| failed("mkdir", source))?;
        // Not a secret: it lives as long as this cluster, which listens on this machine alone.
        let key: Vec<u8> = (0..1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        write("munge.key", &key)?;
        run(Command::new("chmod").arg("600").arg(at.join("munge.key")))?;
        run(Command::new("chmod").arg("755").arg(at))?;
        write("slurm.conf", configuration(at, host.trim()).as_bytes())?;
        let file = |name: &str| at.join(name).display().to_string();
        run(cluster.command("munged").args([
            "--force",
            "--key-file",
            &file("munge.key"),
            "--socket",
            &file("munge.socket"),
            "--pid-file",
            &file("munged.pid"),
            "--log-file",
            &file("munged.log"),
            "--seed-file",
            &file("munge.seed"),
        ]))?;
        run(&mut cluster.command("slurmctld"))?;
        for node in ["node0", "node1"] {
            run(cluster.command("slurmd").args(["-N", node]))?;
        }
        cluster.wait_for("two idle nodes", |cluster| {
            let output = cluster.command("sinfo").args(["--noheader", "-o", "%T %D"]).output();
            let output = output.map_err(|source| failed("sinfo", source))?;
            Ok(String::from_utf8_lossy(&output.stdout).trim() == "idle 2")
        })?;
        Ok(cluster)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(find(name).unwrap_or_else(|| name.into()));
        command.env("SLURM_CONF", self.path().join("slurm.conf"));
        command
    }

    fn jobs(&self) -> Result<String, Failure> {
        let output = self
            .command("squeue")
            .args(["--noheader", "--states", "PENDING,RUNNING,SUSPENDED", "-o", "%i %N %T"])
            .output();
        let output = output.map_err(|source| failed("squeue", source))?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn jobs_end(&self) -> Result<(), Failure> {
        self.wait_for("no job", |cluster| Ok(cluster.jobs()?.is_empty()))
    }

    fn wait_for(&self, what: &str, there: impl Fn(&Cluster) -> Result<bool, Failure>) -> Result<(), Failure> {
        let until = Instant::now() + Duration::from_secs(30);
        while !there(self)? {
            if Instant::now() > until {
                return Err(Failure::Check(format!(
                    "waited 30 s for {what}; see the logs in {}",
                    self.path().display()
                )));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for name in ["slurmd-node0", "slurmd-node1", "slurmctld", "munged"] {
            if let Ok(process) = fs::read_to_string(self.path().join(format!("{name}.pid"))) {
                // It may have ended already.
                let _ = Command::new("kill").arg(process.trim()).status();
            }
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn configuration(at: &Path, host: &str) -> String {
    let at = at.display();
    let [controller, first, last] = PORTS;
    format!(
        "ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={at}/munge.socket
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmctldPort={controller}
SlurmctldPidFile={at}/slurmctld.pid
SlurmdPidFile={at}/slurmd-%n.pid
SlurmdSpoolDir={at}/spool-%n
StateSaveLocation={at}/state
SlurmctldLogFile={at}/slurmctld.log
SlurmdLogFile={at}/slurmd-%n.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
NodeName=node[0-1] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1 RealMemory=500 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"
    )
}

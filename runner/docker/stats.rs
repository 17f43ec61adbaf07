//! What a container uses.

use bollard::{
    models::{ContainerCpuStats, ContainerStatsResponse},
    query_parameters::StatsOptionsBuilder,
};
use futures_util::StreamExt as _;

use super::{DockerError, Engine, engine::QUICK};

/// What a container uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Usage {
    /// Per cent of one processor, 200 for two; none without a second sample.
    pub cpu_percent: Option<f64>,
    /// Nanoseconds of processor time since its start.
    pub cpu_time: u64,
    /// Bytes of memory, without the cache that the kernel can take back.
    pub memory: u64,
    /// Bytes of memory that it may use.
    pub memory_limit: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes received in all networks.
    pub received: u64,
    /// Bytes sent in all networks.
    pub sent: u64,
}

impl Engine {
    /// Measures a running container: once in some 20 ms, or with `sampled` twice in some 2 s, for
    /// its share of the processors.
    ///
    /// # Errors
    /// There is no such container.
    pub async fn usage(&self, container: &str, sampled: bool) -> Result<Usage, DockerError> {
        let action = format!("measure container `{container}`");
        let options = StatsOptionsBuilder::default()
            .stream(false)
            .one_shot(!sampled)
            .build();
        let mut stream = self.docker.stats(container, Some(options)).boxed();
        let first = async { stream.next().await.transpose() };
        let stats = self.within(QUICK, &action, first).await?;
        stats
            .map(|stats| usage(&stats))
            .ok_or_else(|| self.interrupted(&action, "the answer ended early"))
    }
}

fn usage(stats: &ContainerStatsResponse) -> Usage {
    let memory = stats.memory_stats.clone().unwrap_or_default();
    let cache = memory.stats.as_ref().and_then(|stats| {
        // The second is the first's name under cgroup v1.
        stats
            .get("inactive_file")
            .or_else(|| stats.get("total_inactive_file"))
            .copied()
    });
    let networks = stats.networks.clone().unwrap_or_default();
    let total = |of: fn(&bollard::models::ContainerNetworkStats) -> Option<u64>| {
        networks.values().filter_map(of).sum()
    };
    let cpu = stats.cpu_stats.clone().unwrap_or_default();
    let before = stats.precpu_stats.clone().unwrap_or_default();
    Usage {
        cpu_percent: cpu_percent(&before, &cpu),
        cpu_time: cpu_time(&cpu),
        memory: memory
            .usage
            .unwrap_or_default()
            .saturating_sub(cache.unwrap_or_default()),
        memory_limit: memory.limit.unwrap_or_default(),
        processes: stats
            .pids_stats
            .as_ref()
            .and_then(|pids| pids.current)
            .unwrap_or_default(),
        received: total(|network| network.rx_bytes),
        sent: total(|network| network.tx_bytes),
    }
}

fn cpu_time(cpu: &ContainerCpuStats) -> u64 {
    cpu.cpu_usage
        .as_ref()
        .and_then(|usage| usage.total_usage)
        .unwrap_or_default()
}

fn cpu_percent(before: &ContainerCpuStats, after: &ContainerCpuStats) -> Option<f64> {
    let system = after
        .system_cpu_usage?
        .checked_sub(before.system_cpu_usage?)?;
    let own = cpu_time(after).checked_sub(cpu_time(before))?;
    let processors = f64::from(after.online_cpus.unwrap_or(1));
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more than 52 bits"
    )]
    (system > 0).then(|| own as f64 / system as f64 * processors * 100.0)
}

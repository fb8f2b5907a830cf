//! `simulate`: the FlexVM API simulator alone.

use super::Failure;
use super::listen::{listen, shutdown_on_signals};
use super::output::say;
use crate::cli;
use crate::clock::Clock;
use crate::simulator::{Options, Simulator};

pub async fn run(arguments: &cli::Simulate) -> Result<(), Failure> {
    if arguments.clouds == 0 && arguments.vms > 0 {
        return Err(Failure::Usage("VMs need a cloud: --clouds must be at least 1".to_owned()));
    }
    if arguments.page_cap == Some(0) {
        return Err(Failure::Usage("--page-cap must be at least 1".to_owned()));
    }
    let options = Options {
        seed: arguments.seed,
        vms: arguments.vms,
        clouds: arguments.clouds,
        months: arguments.months,
        token: arguments.token.clone(),
        page_cap: arguments.page_cap,
        ..Options::default()
    };
    let mut shutdown = shutdown_on_signals()?;
    let listener = listen(&arguments.listen).await?;
    let address = listener.local_addr().map_err(anyhow::Error::from)?;
    let simulator = Simulator::new(options, Clock::system());
    arguments.faults.iter().for_each(|fault| simulator.inject(*fault));
    say!("listening on http://{address}")?;
    let stop = async move {
        let _ = shutdown.wait_for(|stop| *stop).await;
    };
    simulator.serve(listener, stop).await.map_err(anyhow::Error::from)?;
    Ok(())
}

//! All checks, in the order in which they run: those of one stack together.

mod bench;
mod beside;
mod drill;
mod entry;
mod faults;
mod fence;
mod files;
mod hostile;
mod idle;
mod limits;
mod reload;
mod roles;
mod soak;
mod told;
mod upgrade;

use crate::lab::Lab;
use crate::runner::{Check, On, Verdict};
use crate::stack::Stack;

pub(crate) fn all() -> Vec<Check> {
    vec![
        Check { name: "files: both Dockerfiles agree", on: On::Files(files::dockerfiles_agree) },
        Check { name: "files: both pages agree", on: On::Files(files::pages_agree) },
        pair("page through the front end", entry::page),
        pair("pause", faults::pause),
        pair("kill and start", faults::kill),
        pair("network disconnect and connect", faults::disconnect),
        pair("stop and start", faults::stop),
        pair("restart", faults::restart),
        pair("front end during faults", faults::front),
        pair("fresh clients while the master is paused", fence::fresh_clients),
        pair("open connections while the master is paused", told::open_connections),
        pair("hostile packets", hostile::packets),
        pair("hostile requests", hostile::requests),
        pair("proxy killed", roles::killed),
        pair("proxy frozen", roles::frozen),
        pair("a worker of the proxy frozen", roles::worker_frozen),
        pair("vrrp killed", roles::vrrp_killed),
        pair("backup frozen", faults::backup_paused),
        pair("config edit", reload::edit),
        pair("config edit that is wrong", reload::broken_edit),
        pair("config edit that takes the backup", reload::edit_that_takes_the_backup),
        pair("drill", drill::both_phases),
        pair("another image", upgrade::image),
        pair("start without a file", entry::without_a_file),
        pair("orphans", limits::orphans),
        pair("memory", limits::memory),
        pair("cost while idle", idle::cost),
        pair("image size", limits::image_size),
        Check { name: "thaw without preempt", on: On::Pair { preempt: false, check: fence::thaw } },
        Check { name: "make up and make down", on: On::Engine(entry::make_up) },
        Check { name: "make up says what is in its way", on: On::Engine(entry::preflight) },
        Check { name: "beside nginx", on: On::Engine(beside::nginx) },
        control("control: pause", faults::pause),
        control("control: fresh clients", fence::fresh_clients),
        control("control: open connections while the master is paused", told::open_connections),
        control("control: front end during faults", faults::front),
        control("control: kill and start", faults::kill),
        control("control: stop and start", faults::stop),
        control("control: restart", faults::restart),
        control("control: network disconnect and connect", faults::disconnect),
        control("control: web server killed", roles::killed),
        control("control: web server frozen", roles::frozen),
        row("bench pause", bench::pause),
        row("bench network disconnect", bench::disconnect),
        row("bench kill", bench::kill),
        row("bench agent killed", bench::agent_killed),
        row("bench proxy killed", bench::proxy_killed),
        row("bench proxy hangs", bench::proxy_hangs),
        row("bench stop", bench::stop),
        row("bench boot", bench::boot),
        row("soak", soak::soak),
    ]
}

fn pair(name: &'static str, check: fn(&mut Stack) -> Verdict) -> Check {
    Check { name, on: On::Pair { preempt: true, check } }
}

fn row(name: &'static str, check: fn(&mut Lab) -> Verdict) -> Check {
    Check { name, on: On::Bench(check) }
}

fn control(name: &'static str, check: fn(&mut Stack) -> Verdict) -> Check {
    Check { name, on: On::Control(check) }
}

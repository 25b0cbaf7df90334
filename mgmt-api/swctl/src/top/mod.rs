//! `top`: what the workers do, live. A sample is the gateway's status and counters; two of them make rates; the screen
//! shows the latest.

mod sample;
mod view;

use crate::client::Client;
use crate::error::Error;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use sample::{Rates, Sample, Sort};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// What is on the screen.
struct Screen {
    sample: Sample,
    rates: Option<Rates>,
    sort: Sort,
    paused: bool,
    interval: u64,
    /// Why there is no news.
    trouble: Option<String>,
}

/// Runs until the operator quits; `interval` is seconds between samples.
pub fn top(client: &Client, interval: u64) -> Result<(), Error> {
    if !std::io::stdout().is_terminal() {
        return Err(Error::Usage("top needs a terminal; show counters --json is for programs".into()));
    }
    let sample = Sample::take(client)?;
    let mut screen = Screen { sample, rates: None, sort: Sort::Rate, paused: false, interval, trouble: None };
    let mut terminal = ratatui::try_init()?;
    let result = run(client, &mut screen, &mut terminal);
    ratatui::restore();
    result
}

fn run(client: &Client, screen: &mut Screen, terminal: &mut DefaultTerminal) -> Result<(), Error> {
    let mut next = Instant::now() + Duration::from_secs(screen.interval);
    loop {
        terminal.draw(|frame| view::draw(frame, screen))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            if let Event::Key(pressed) = event::read()?
                && screen.key(pressed)
            {
                return Ok(());
            }
            continue;
        }
        next = Instant::now() + Duration::from_secs(screen.interval);
        if !screen.paused {
            match Sample::take(client) {
                Ok(sample) => screen.take(sample),
                // It may be restarting.
                Err(Error::Unreachable(why)) => screen.trouble = Some(why),
                Err(other) => return Err(other),
            }
        }
    }
}

impl Screen {
    fn take(&mut self, sample: Sample) {
        self.rates = Rates::between(&self.sample, &sample);
        self.sample = sample;
        self.trouble = None;
    }

    /// True when it is the end.
    fn key(&mut self, key: KeyEvent) -> bool {
        if key.kind != KeyEventKind::Press {
            return false;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            // The terminal is in raw mode: this is no signal.
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Char('p') => self.paused = !self.paused,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            _ => {}
        }
        false
    }
}

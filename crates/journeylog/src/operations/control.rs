//! `pause`, `resume`: a view's projectors rest, wherever they run.

use super::{Done, Why, audited, open_store};
use crate::settings::Settings;
use domain::views::View;
use serde_json::json;
use std::process::ExitCode;

/// `journeylog pause` and `journeylog resume`.
pub async fn pause(settings: &Settings, view: View, paused: bool, why: &Why) -> anyhow::Result<ExitCode> {
    let store = open_store(settings, 1).await?;
    let operation = if paused { "pause" } else { "resume" };
    audited(&store, operation, Some(view), None, why, json!({}), async {
        let changed = store.pause(view.as_str(), paused).await?;
        let now = if paused { "paused" } else { "running" };
        println!("{} {} {now}", view.as_str(), if changed { "is now" } else { "was already" });
        Ok(Done { generation: None, result: json!({"changed": changed}), code: ExitCode::SUCCESS })
    })
    .await
}

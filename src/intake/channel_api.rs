//! `/api/channels`: what the admin API says of channels, and does to them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tracing::error;

use super::Server;
use super::admin::{self, json_response, text};
use super::control::{Command, Error, Orders, Put};
use super::exposition::Exposition;
use super::setup::ChannelSetup;
use super::stored::Stored;

type Answer = Response<Full<Bytes>>;

pub struct ChannelApi {
    pub orders: Orders,
    /// Held while a channel is made or removed. `None`: nothing is remembered beyond a restart.
    pub stored: Mutex<Option<Stored>>,
}

impl ChannelApi {
    pub async fn list(&self) -> Answer {
        match self.orders.ask(|answer| Command::List { answer }).await {
            Some(list) => json_response(&list),
            None => stopping(),
        }
    }

    pub async fn describe(&self, name: &str) -> Answer {
        match self.orders.ask(|answer| Command::Describe { name: name.to_owned(), answer }).await {
            Some(Ok(found)) => json_response(&found),
            Some(Err(error)) => failed(&error),
            None => stopping(),
        }
    }

    pub async fn stop(&self, name: &str) -> Answer {
        match self.orders.ask(|answer| Command::Stop { name: name.to_owned(), answer }).await {
            Some(Ok(())) => text(StatusCode::OK, "publishers were disconnected\n"),
            Some(Err(error)) => failed(&error),
            None => stopping(),
        }
    }

    /// The keys of a `[[channel]]` as JSON; the name may be left to the address.
    pub async fn put(&self, name: &str, body: Incoming, server: &dyn Server) -> Answer {
        let (keys, setup) = match read(name, body, server).await {
            Ok(read) => read,
            Err(answer) => return answer,
        };
        let mut stored = self.stored.lock().await;
        let put = match self.orders.ask(|answer| Command::Put { setup: Box::new(setup), answer }).await {
            Some(Ok(put)) => put,
            Some(Err(error)) => return failed(&error),
            None => return stopping(),
        };
        if let Some(Err(error)) = stored.as_mut().map(|stored| stored.put(name, keys)) {
            error!("channel {name}: it is open, but will not be after a restart: {error}");
            let line = format!("the channel is open, but will not be after a restart: {error}\n");
            return text(StatusCode::INSUFFICIENT_STORAGE, &line);
        }
        match put {
            Put::Made => text(StatusCode::CREATED, "the channel was made\n"),
            Put::Changed => text(StatusCode::OK, "the channel was changed\n"),
        }
    }

    pub async fn remove(&self, name: &str) -> Answer {
        let mut stored = self.stored.lock().await;
        match self.orders.ask(|answer| Command::Remove { name: name.to_owned(), answer }).await {
            Some(Ok(())) => {}
            Some(Err(error)) => return failed(&error),
            None => return stopping(),
        }
        if let Some(Err(error)) = stored.as_mut().map(|stored| stored.remove(name)) {
            error!("channel {name}: it is closed, but will be open after a restart: {error}");
            let line = format!("the channel is closed, but will be open after a restart: {error}\n");
            return text(StatusCode::INSUFFICIENT_STORAGE, &line);
        }
        text(StatusCode::OK, "the channel was removed; what it recorded stays on disk\n")
    }

    pub async fn write_metrics(&self, out: &mut Exposition) {
        if let Some(figures) = self.orders.ask(|answer| Command::Metrics { answer }).await {
            out.append(figures);
        }
    }
}

async fn read(name: &str, body: Incoming, server: &dyn Server) -> Result<(Map<String, Value>, ChannelSetup), Answer> {
    let mut keys = admin::body(body).await?;
    let mistaken = |what: &str| text(StatusCode::BAD_REQUEST, &format!("{what}\n"));
    match keys.entry("name").or_insert_with(|| name.into()) {
        Value::String(found) if found == name => {}
        found => return Err(mistaken(&format!("name: found {found}, expected {name:?}, as in the address"))),
    }
    match server.channel(&keys) {
        Ok(setup) => Ok((keys, setup)),
        Err(mistakes) => Err(mistaken(&mistakes.join("\n"))),
    }
}

fn failed(error: &Error) -> Answer {
    let status = match error {
        Error::Unknown => StatusCode::NOT_FOUND,
        Error::OfFile => StatusCode::CONFLICT,
        Error::TooMany | Error::Listen { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Error::Open(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    text(status, &format!("{error}\n"))
}

fn stopping() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping\n")
}

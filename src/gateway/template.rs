//! Texts with variables of a request, `$remote_addr`: parsed once, when the configuration is read; rendered per request
//! by whoever knows the values. The names are nginx's.

use serde::{Deserialize, Serialize};

/// Longest template in bytes.
const TEMPLATE_MAX: usize = 4096;

/// nginx's `combined` access log.
pub const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \
     \"$http_referer\" \"$http_user_agent\"";

/// What a template is refused for, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    pub what: String,
    pub remedy: String,
}

/// When a value is known. A template says up to which moment its variables may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// The request's head has been read.
    Request,
    /// The response's head is about to be sent.
    Response,
    /// The exchange is over.
    End,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    Text(String),
    Variable(Variable),
}

macro_rules! variables {
    ($( $name:literal, $variant:ident, $moment:ident; )+) => {
        /// A value of one exchange; those with a name carry it in lower case, with dashes where nginx has underscores.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Variable {
            $( $variant, )+
            /// `$http_NAME`: a field of the request.
            RequestField(String),
            /// `$upstream_http_NAME`: a field of the upstream's response.
            UpstreamField(String),
            /// `$arg_NAME`: an argument of the query.
            Argument(String),
            /// `$cookie_NAME`.
            Cookie(String),
        }

        /// Every variable without a name of its own in it.
        pub const PLAIN_VARIABLES: &[&str] = &[ $( $name ),+ ];

        impl Variable {
            fn plain(name: &str) -> Option<Self> {
                Some(match name {
                    $( $name => Self::$variant, )+
                    _ => return None,
                })
            }

            pub fn moment(&self) -> Moment {
                match self {
                    $( Self::$variant => Moment::$moment, )+
                    Self::RequestField(_) | Self::Argument(_) | Self::Cookie(_) => Moment::Request,
                    Self::UpstreamField(_) => Moment::Response,
                }
            }
        }
    };
}

variables! {
    "args", Args, Request;
    "body_bytes_sent", BodyBytesSent, End;
    "bytes_sent", BytesSent, End;
    "connection", Connection, Request;
    "connection_requests", ConnectionRequests, Request;
    "host", Host, Request;
    "hostname", Hostname, Request;
    "is_args", IsArgs, Request;
    "msec", Msec, Request;
    "proxy_add_x_forwarded_for", ProxyAddXForwardedFor, Request;
    "proxy_host", ProxyHost, Request;
    "query_string", QueryString, Request;
    "remote_addr", RemoteAddr, Request;
    "remote_port", RemotePort, Request;
    "remote_user", RemoteUser, Request;
    "request", Request, Request;
    "request_id", RequestId, Request;
    "request_length", RequestLength, End;
    "request_method", RequestMethod, Request;
    "request_time", RequestTime, End;
    "request_uri", RequestUri, Request;
    "scheme", Scheme, Request;
    "server_addr", ServerAddr, Request;
    "server_name", ServerName, Request;
    "server_port", ServerPort, Request;
    "server_protocol", ServerProtocol, Request;
    "status", Status, Response;
    "time_iso8601", TimeIso8601, Request;
    "time_local", TimeLocal, Request;
    "upstream_addr", UpstreamAddr, Response;
    "upstream_connect_time", UpstreamConnectTime, Response;
    "upstream_header_time", UpstreamHeaderTime, Response;
    "upstream_response_time", UpstreamResponseTime, End;
    "upstream_status", UpstreamStatus, Response;
    "uri", Uri, Request;
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        if let Some(plain) = Self::plain(name) {
            return Some(plain);
        }
        let field = |rest: &str| (!rest.is_empty()).then(|| rest.replace('_', "-"));
        if let Some(rest) = name.strip_prefix("http_") {
            return field(rest).map(Self::RequestField);
        }
        if let Some(rest) = name.strip_prefix("upstream_http_") {
            return field(rest).map(Self::UpstreamField);
        }
        let plain = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        if let Some(rest) = name.strip_prefix("arg_") {
            return plain(rest).map(Self::Argument);
        }
        name.strip_prefix("cookie_").and_then(plain).map(Self::Cookie)
    }
}

impl Template {
    /// Variables are `$name` or `${name}`; a dollar sign that begins none is refused. `until`: variables that are known
    /// later than that are refused too.
    pub fn parse(text: &str, until: Moment) -> Result<Self, TemplateError> {
        let error = |what: String, remedy: &str| Err(TemplateError { what, remedy: remedy.to_owned() });
        if text.len() > TEMPLATE_MAX {
            return error(format!("longer than {TEMPLATE_MAX} bytes"), "write less");
        }
        let mut parts = vec![];
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (name, behind) = match after.strip_prefix('{') {
                Some(inside) => match inside.split_once('}') {
                    Some(pair) => pair,
                    None => {
                        return error("\"${\" is never closed".into(), "write $name or ${name}");
                    }
                },
                None => {
                    let end =
                        after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            let Some(variable) = Variable::named(&name.to_ascii_lowercase()) else {
                return error(
                    format!("there is no variable \"${name}\" of a request"),
                    "use one of nginx's names, such as $remote_addr, $host, $request_uri or $http_user_agent",
                );
            };
            if variable.moment() > until {
                return error(
                    format!("\"${name}\" is not known yet when this is written"),
                    "use it in the access log, or use a variable of the request",
                );
            }
            parts.push(Part::Variable(variable));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text, where no variable is in it.
    pub fn constant(&self) -> Option<&str> {
        let constant = self.parts.iter().all(|part| match part {
            Part::Text(_) => true,
            Part::Variable(_) => false,
        });
        constant.then_some(self.text.as_str())
    }
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text, Moment::End).map_err(|error| error.what)
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, until: Moment) -> String {
        match Template::parse(text, until) {
            Ok(template) => template
                .parts()
                .iter()
                .map(|part| match part {
                    Part::Text(text) => format!("[{text}]"),
                    Part::Variable(variable) => format!("{variable:?}"),
                })
                .collect(),
            Err(error) => error.what,
        }
    }

    #[test]
    fn variables_stand_in_texts() {
        let table = [
            ("", Moment::Request, ""),
            ("a b", Moment::Request, "[a b]"),
            ("$host", Moment::Request, "Host"),
            ("a${host}b", Moment::Request, "[a]Host[b]"),
            ("$remote_addr:$remote_port", Moment::Request, "RemoteAddr[:]RemotePort"),
            ("$http_user_agent", Moment::Request, "RequestField(\"user-agent\")"),
            ("$upstream_http_x_a", Moment::End, "UpstreamField(\"x-a\")"),
            ("$arg_q$cookie_SID", Moment::Request, "Argument(\"q\")Cookie(\"sid\")"),
            ("$Request_ID", Moment::Request, "RequestId"),
            ("$status", Moment::Request, "\"$status\" is not known yet when this is written"),
            ("$status", Moment::Response, "Status"),
            ("$request_time", Moment::Response, "\"$request_time\" is not known yet when this is written"),
            ("$request_time", Moment::End, "RequestTime"),
            ("$nobody", Moment::End, "there is no variable \"$nobody\" of a request"),
            ("a $", Moment::End, "there is no variable \"$\" of a request"),
            ("$http_", Moment::End, "there is no variable \"$http_\" of a request"),
            ("${host", Moment::End, "\"${\" is never closed"),
        ];
        for (text, until, expect) in table {
            assert_eq!(shown(text, until), expect, "{text}");
        }
        assert!(shown(&"a".repeat(TEMPLATE_MAX + 1), Moment::End).starts_with("longer"));
    }

    #[test]
    fn every_plain_name_is_a_variable_and_travels_as_text() {
        for name in PLAIN_VARIABLES {
            let template = Template::parse(&format!("a${name}"), Moment::End).unwrap();
            assert!(template.constant().is_none() && template.parts().len() == 2, "{name}");
            let json = serde_json::to_string(&template).unwrap();
            assert_eq!(serde_json::from_str::<Template>(&json).unwrap(), template);
        }
        assert_eq!(Template::parse("x", Moment::Request).unwrap().constant(), Some("x"));
        assert!(serde_json::from_str::<Template>("\"$nobody\"").is_err());
    }
}

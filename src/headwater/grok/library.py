"""The patterns that everyone knows by name, in our own words.

The names, and what each is to match, are those of Logstash; the expressions are written for RE2, without lookaround,
and small, as RE2 takes longer the larger the program is. Where a log writes `-` for "nothing", the column is null.
"""

from __future__ import annotations

from collections.abc import Mapping

_HEX = "[0-9A-Fa-f]"
_QUOTED = r'[^"\\]*(?:\\.[^"\\]*)*'

_NUMBERS = {
    "INT": r"[+-]?[0-9]+",
    "POSINT": r"\b[1-9][0-9]*\b",
    "NONNEGINT": r"\b[0-9]+\b",
    "BASE10NUM": r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)",
    "NUMBER": r"%{BASE10NUM}",
    "BASE16NUM": rf"[+-]?(?:0x)?{_HEX}+",
    "BASE16FLOAT": rf"\b[+-]?(?:0x)?(?:{_HEX}+(?:\.{_HEX}*)?|\.{_HEX}+)\b",
    "BOOL": r"(?i:true|false)",
}

_WORDS = {
    "WORD": r"\b\w+\b",
    "NOTSPACE": r"\S+",
    "SPACE": r"\s*",
    "DATA": r".*?",
    "GREEDYDATA": r".*",
    "QUOTEDSTRING": rf'(?:"{_QUOTED}"|' + r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`)",
    "QS": r"%{QUOTEDSTRING}",
    "UUID": rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "URN": r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:(?:%[0-9A-Fa-f]{2}|[0-9A-Za-z()+,.:=@;$_!*'/?#-])+",
    "USERNAME": r"[a-zA-Z0-9._-]+",
    "USER": r"%{USERNAME}",
    "EMAILLOCALPART": r"[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*",
    "EMAILADDRESS": r"%{EMAILLOCALPART}@%{HOSTNAME}",
    "LOGLEVEL": r"(?i:trace|debug|info(?:rmation)?|notice|warn(?:ing)?|err(?:or)?|crit(?:ical)?|fatal|severe"
    r"|alert|emerg(?:ency)?)",
}

_NETWORK = {
    "CISCOMAC": rf"(?:{_HEX}{{4}}\.){{2}}{_HEX}{{4}}",
    "WINDOWSMAC": rf"(?:{_HEX}{{2}}-){{5}}{_HEX}{{2}}",
    "COMMONMAC": rf"(?:{_HEX}{{2}}:){{5}}{_HEX}{{2}}",
    "MAC": r"(?:%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC})",
    "IPV4": r"(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
    "IPV6": rf"(?:(?:{_HEX}{{1,4}}:){{7}}{_HEX}{{1,4}}|(?:{_HEX}{{1,4}}:){{6}}%{{IPV4}}"
    rf"|(?:{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{0,6}})?::(?:(?:{_HEX}{{1,4}}:){{0,6}}(?:%{{IPV4}}|{_HEX}{{1,4}}))?)"
    r"(?:%[0-9A-Za-z]+)?",
    "IP": r"(?:%{IPV6}|%{IPV4})",
    "HOSTNAME": r"\b[0-9A-Za-z][0-9A-Za-z-]*(?:\.[0-9A-Za-z][0-9A-Za-z-]*)*\.?",
    "IPORHOST": r"(?:%{IP}|%{HOSTNAME})",
    "HOSTPORT": r"%{IPORHOST}:%{POSINT}",
    "CLIENT": rf"[0-9A-Za-z][0-9A-Za-z.-]*|{_HEX}*:[0-9A-Fa-f:.]+(?:%[0-9A-Za-z]+)?",
}

_PATHS = {
    "UNIXPATH": r"(?:/[\w_%!$@:.,+~*=#?&-]*)+",
    "WINPATH": r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+",
    "PATH": r"(?:%{UNIXPATH}|%{WINPATH})",
    "TTY": r"/dev/(?:pts|tty(?:[pq])?)(?:\w+)?/?(?:[0-9]+)",
    "URIPROTO": r"[A-Za-z][A-Za-z0-9+.-]*",
    "URIHOST": r"%{IPORHOST}(?::%{POSINT})?",
    "URIPATH": r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+",
    "URIQUERY": r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*",
    "URIPARAM": r"\?%{URIQUERY}",
    "URIPATHPARAM": r"%{URIPATH}(?:%{URIPARAM})?",
    "URI": r"%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATH}(?:%{URIPARAM})?)?",
}

_TIMES = {
    "MONTH": r"\b(?:[Jj]an(?:uary)?|[Ff]eb(?:ruary)?|[Mm]ar(?:ch)?|[Aa]pr(?:il)?|[Mm]ay|[Jj]un(?:e)?|[Jj]ul(?:y)?"
    r"|[Aa]ug(?:ust)?|[Ss]ep(?:tember)?|[Oo]ct(?:ober)?|[Nn]ov(?:ember)?|[Dd]ec(?:ember)?)\b",
    "MONTHNUM": r"(?:0?[1-9]|1[0-2])",
    "MONTHNUM2": r"(?:0[1-9]|1[0-2])",
    "MONTHDAY": r"(?:0[1-9]|[12][0-9]|3[01]|[1-9])",
    "DAY": r"(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)",
    "YEAR": r"[0-9]{2}(?:[0-9]{2})?",
    "HOUR": r"(?:2[0123]|[01]?[0-9])",
    "MINUTE": r"[0-5][0-9]",
    "SECOND": r"(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?",
    "TIME": r"%{HOUR}:%{MINUTE}(?::%{SECOND})",
    "DATE_US": r"%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}",
    "DATE_EU": r"%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}",
    "ISO8601_TIMEZONE": r"(?:Z|[+-]%{HOUR}(?::?%{MINUTE}))",
    "ISO8601_SECOND": r"%{SECOND}",
    "TIMESTAMP_ISO8601": r"%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?",
    "DATE": r"(?:%{DATE_US}|%{DATE_EU})",
    "DATESTAMP": r"%{DATE}[- ]%{TIME}",
    "TZ": r"(?:[APMCE][SD]T|UTC|GMT)",
    "DATESTAMP_RFC822": r"%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}",
    "DATESTAMP_RFC2822": r"%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}",
    "DATESTAMP_OTHER": r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}",
    "DATESTAMP_EVENTLOG": r"%{YEAR}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}",
    "HTTPDATE": r"%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}",
    "HTTPDERROR_DATE": r"%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{YEAR}",
    "SYSLOGTIMESTAMP": r"%{MONTH} +%{MONTHDAY} %{TIME}",
}

_SYSLOG = {
    "PROG": r"[\x21-\x5a\x5c\x5e-\x7e]+",
    "SYSLOGPROG": r"%{PROG:program}(?:\[%{POSINT:pid:int}\])?",
    "SYSLOGHOST": r"%{IPORHOST}",
    "SYSLOGFACILITY": r"<%{NONNEGINT:facility:int}\.%{NONNEGINT:priority:int}>",
    "SYSLOGBASE": r"%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:",
    "SYSLOGBASE2": r"(?:%{SYSLOGTIMESTAMP:timestamp}|%{TIMESTAMP_ISO8601:timestamp8601})"
    r" (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource}(?: %{SYSLOGPROG}:|)",
    "SYSLOGLINE": r"%{SYSLOGBASE2} %{GREEDYDATA:message}",
    "SYSLOG5424PRI": r"<%{NONNEGINT:syslog5424_pri:int}>",
    "SYSLOG5424PRINTASCII": r"[!-~]+",
    "SYSLOG5424SD": r"\[%{DATA}\]+",
    "SYSLOG5424BASE": r"%{SYSLOG5424PRI}%{NONNEGINT:syslog5424_ver:int}"
    r" +(?:-|%{TIMESTAMP_ISO8601:syslog5424_ts:timestamp})"
    r" +(?:-|%{IPORHOST:syslog5424_host}) +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_app})"
    r" +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_proc}) +(?:-|%{SYSLOG5424PRINTASCII:syslog5424_msgid})"
    r" +(?:-|%{SYSLOG5424SD:syslog5424_sd})",
    "SYSLOG5424LINE": r"%{SYSLOG5424BASE} +%{GREEDYDATA:syslog5424_msg}",
    "CRONLOG": r"%{SYSLOGBASE} \(%{USER:user}\) %{WORD:action} \(%{DATA:message}\)",
}

_HTTPD = {
    "HTTPDUSER": r"(?:%{EMAILADDRESS}|%{USER})",
    "COMMONAPACHELOG": r"%{CLIENT:clientip} (?:-|%{NOTSPACE:ident}) (?:-|%{NOTSPACE:auth})"
    r" \[%{HTTPDATE:timestamp:timestamp}\]"
    r' "(?:(?P<verb>[A-Za-z]+) (?P<request>[^\s"]+)(?: HTTP/(?P<httpversion>[0-9.]+))?'
    rf'|-|(?P<rawrequest>{_QUOTED}))"'
    r" (?:-|%{INT:response:int}) (?:-|%{INT:bytes:int})",
    "COMBINEDAPACHELOG": r"%{COMMONAPACHELOG}" + rf' "(?:-|(?P<referrer>{_QUOTED}))" "(?:-|(?P<agent>{_QUOTED}))"',
    "HTTPD_COMMONLOG": r"%{COMMONAPACHELOG}",
    "HTTPD_COMBINEDLOG": r"%{COMBINEDAPACHELOG}",
    "NGINXACCESS": r"%{COMBINEDAPACHELOG}",
    "HTTPD20_ERRORLOG": r"\[%{HTTPDERROR_DATE:timestamp:timestamp}\] \[%{LOGLEVEL:loglevel}\]"
    r"(?: \[client %{IPORHOST:clientip}\])? %{GREEDYDATA:message}",
    "HTTPD24_ERRORLOG": r"\[%{HTTPDERROR_DATE:timestamp:timestamp}\] \[(?:%{WORD:module})?:%{LOGLEVEL:loglevel}\]"
    r" \[pid %{POSINT:pid:int}(?::tid %{NUMBER:tid})?\]"
    r"(?: \(%{POSINT:proxy_errorcode}\)%{DATA:proxy_message}:)?(?: \[client %{CLIENT:clientip}\])?"
    r"(?: %{DATA:errorcode}:)? %{GREEDYDATA:message}",
    "HTTPD_ERRORLOG": r"(?:%{HTTPD20_ERRORLOG}|%{HTTPD24_ERRORLOG})",
}

_PROGRAMS = {
    "JAVACLASS": r"(?:[a-zA-Z$_][a-zA-Z$_0-9]*\.)*[a-zA-Z$_][a-zA-Z$_0-9]*",
    "JAVAFILE": r"[a-zA-Z$_0-9. -]+",
    "JAVAMETHOD": r"(?:<(?:cl)?init>|[a-zA-Z$_][a-zA-Z$_0-9]*)",
    "JAVASTACKTRACEPART": r"\s*at %{JAVACLASS:class}\.%{JAVAMETHOD:method}\(%{JAVAFILE:file}(?::%{INT:line:int})?\)",
    "JAVATHREAD": r"[A-Z]{2}-Processor[0-9]+",
    "JAVALOGMESSAGE": r".*",
    "TOMCATLEGACY_DATESTAMP": r"20%{YEAR}-%{MONTHNUM}-%{MONTHDAY} %{HOUR}:?%{MINUTE}:?%{SECOND} %{ISO8601_TIMEZONE}",
    "REDISTIMESTAMP": r"%{MONTHDAY} %{MONTH} (?:%{YEAR} )?%{TIME}",
    "REDISLOG": r"(?:\[%{POSINT:pid:int}\]|%{POSINT:pid:int}:%{WORD:role}) %{REDISTIMESTAMP:timestamp}"
    r" [*#.-] %{GREEDYDATA:message}",
    "POSTGRESQL": r"%{TIMESTAMP_ISO8601:timestamp} %{TZ:zone} (?:%{USER:user_id} )?\[%{POSINT:pid:int}\]"
    r" (?:%{USER:user}@%{WORD:database} )?%{WORD:level}: +%{GREEDYDATA:message}",
    "S3_REQUEST_LINE": r"(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})",
    "S3_ACCESS_LOG": r"%{WORD:owner} %{NOTSPACE:bucket} \[%{HTTPDATE:timestamp:timestamp}\] (?:-|%{IP:clientip})"
    r" (?:-|%{NOTSPACE:requester}) %{NOTSPACE:request_id} %{NOTSPACE:operation} (?:-|%{NOTSPACE:key})"
    r' (?:-|"%{S3_REQUEST_LINE}") (?:-|%{INT:response:int}) (?:-|%{NOTSPACE:error_code}) (?:-|%{INT:bytes:int})'
    r" (?:-|%{INT:object_size:int}) (?:-|%{INT:request_time_ms:int}) (?:-|%{INT:turnaround_time_ms:int})"
    rf' "(?:-|(?P<referrer>{_QUOTED}))" "(?:-|(?P<agent>{_QUOTED}))"',
    "ELB_ACCESS_LOG": r"%{TIMESTAMP_ISO8601:timestamp:timestamp} %{NOTSPACE:elb} %{IP:clientip}:%{INT:clientport:int}"
    r" (?:-|%{IP:backendip}:%{INT:backendport:int}) %{NUMBER:request_processing_time:float}"
    r" %{NUMBER:backend_processing_time:float} %{NUMBER:response_processing_time:float} (?:-|%{INT:response:int})"
    r" (?:-|%{INT:backend_response:int}) %{INT:received_bytes:int} %{INT:bytes:int}"
    r' "(?:-|%{WORD:verb}) (?:-|%{NOTSPACE:request}) (?:- |HTTP/%{NUMBER:httpversion})"',
}

PATTERNS: Mapping[str, str] = {
    **_NUMBERS,
    **_WORDS,
    **_NETWORK,
    **_PATHS,
    **_TIMES,
    **_SYSLOG,
    **_HTTPD,
    **_PROGRAMS,
}
"""Pattern by name."""

DATE_FORMATS: Mapping[str, tuple[str, ...]] = {
    "HTTPDATE": ("dd/MMM/yyyy:HH:mm:ss Z",),
    "TIMESTAMP_ISO8601": ("ISO8601",),
    "HTTPDERROR_DATE": ("EEE MMM dd HH:mm:ss.SSSSSS yyyy", "EEE MMM dd HH:mm:ss yyyy"),
    "DATESTAMP_RFC2822": ("EEE, d MMM yyyy HH:mm:ss Z",),
    "DATESTAMP_EVENTLOG": ("yyyyMMddHHmmss",),
    "DATESTAMP_OTHER": ("EEE MMM d HH:mm:ss ZZZ yyyy",),
    "DATESTAMP_RFC822": ("EEE MMM d yyyy HH:mm:ss ZZZ",),
}
"""How a field of type `timestamp` is read, by the name of its pattern; others as ISO 8601."""

# radius.sh - sourced after lib.sh: FreeRADIUS servers in a namespace of their own, and what a case asks of them. Nothing of
# /etc/freeradius is used; their log and the accounting records they took (NAME.detail) are in $LOGS.
#
#   softwired in $GW ── m0 (10.9.0.1, fd09::1) ── m0 in $AAA (10.9.0.2 and 10.9.0.3, fd09::2) ── r1, r2 ...
#                       the management network, an ordinary interface of the host
AAA=$PFX-aaa NAS4=10.9.0.1 R1=10.9.0.2 R2=10.9.0.3 R6=fd09::2
SECRET=labsecret COA_SECRET=coasecret

layout_aaa() {
  netns "$AAA"; veth "$GW" m0 "$AAA" m0
  address "$GW" m0 "$NAS4/24" fd09::1/64; address "$AAA" m0 "$R1/24" "$R2/24" "$R6/64"
  pki; mkdir -p "$STATE/dictionary"
  printf '$INCLUDE %s\n' /usr/share/freeradius/dictionary "$REPO/controlplane/radius/dictionary.softwire" >"$STATE/dictionary/dictionary"
}
# user NAME PASSWORD [ATTRIBUTE = VALUE...]: into the users file of servers that start from now on; PASSWORD "-": none
user() {
  local name=$1 check="Cleartext-Password := \"$2\"" list; [ "$2" != - ] || check=
  shift 2; printf -v list '%s,\n\t' "Service-Type = Framed-User" "$@"
  printf '%s %s\n\t%s\n' "$name" "$check" "${list%,*}" >>"$STATE/users"
}
# listens ADDRESS: UDP and TCP, both purposes, with room for all requests of a burst; RadSec with certificate $RADSEC of the test PKI
listens() {
  local family=ipv4addr type proto port=1812; case $1 in *:*) family=ipv6addr;; esac
  for type in auth acct; do
    for proto in udp ${TCP:+tcp}; do printf 'listen {\ntype = %s\n%s = %s\nport = %s\nproto = %s\nrecv_buff = 4194304\n}\n' $type $family "$1" $port $proto; done
    port=$((port + 1))
  done
  [ -z "${RADSEC:-}" ] || cat <<L
listen {
  type = auth+acct
  $family = $1
  port = 2083
  proto = tcp
  clients = radsec
  tls {
    private_key_file = $STATE/share/pki/$RADSEC.key
    certificate_file = $STATE/share/pki/$RADSEC.pem
    ca_file = $STATE/share/pki/ca.pem
    require_client_cert = yes
    tls_min_version = "1.3"
    tls_max_version = "1.3"
  }
}
L
}
# radius NAME ADDRESS...: a server there.
#   TCP=yes RADSEC=CERTIFICATE   how it listens
#   HOME_SERVER=ADDRESS:PORT   requests of realm home.example.net go there, and addresses come from our pool "visited"
radius() {
  local name=$1 d=$STATE/$1 ma=$'update reply {\n Message-Authenticator := 0x00\n}' visited= net family; shift
  [ -z "${HOME_SERVER:-}" ] || visited=$'if (&proxy-reply:) {\n update reply {\n Framed-IP-Address !* ANY\n Framed-Pool := "visited"\n }\n }'
  mkdir -p "$d"; touch "$STATE/users"; cp "$STATE/users" "$d/users"
  # its parser wants a line for each word that follows a brace, and for each brace that closes
  { cat <<R
prefix = /usr
logdir = $LOGS
raddbdir = $d
run_dir = $d
libdir = /usr/lib/freeradius
pidfile = $d/radiusd.pid
max_requests = 65536
cleanup_delay = 5
hostname_lookups = no
log {
  destination = files
  file = $LOGS/$name.log
  auth = yes
}
security {
  max_attributes = 200
  reject_delay = 0
  status_server = yes
}
thread pool {
  start_servers = 2
  max_servers = 8
  min_spare_servers = 1
  max_spare_servers = 4
}
$(for net in 10.9.0.0/24 127.0.0.0/8 fd09::/64; do
    case $net in *:*) family=ipv6addr;; *) family=ipv4addr;; esac
    printf 'client %s {\n%s = %s\nsecret = %s\nproto = *\n}\n' "$net" $family "$net" "$SECRET"; done)
clients radsec {
$(for net in 10.9.0.0/24 fd09::/64; do
    case $net in *:*) family=ipv6addr;; *) family=ipv4addr;; esac
    printf 'client %s {\n%s = %s\nsecret = radsec\nproto = tls\n}\n' "tls-$net" $family "$net"; done)
}
modules {
  always ok {
    rcode = ok
  }
  pap { }
  chap { }
  mschap { }
  files {
    filename = $d/users
  }
  realm suffix {
    format = suffix
    delimiter = "@"
  }
  detail {
    filename = $LOGS/$name.detail
    escape_filenames = no
  }
  detail requests {
    filename = $LOGS/$name.requests
    escape_filenames = no
  }
  eap {
    default_eap_type = md5
    max_sessions = 4096
    md5 { }
    mschapv2 { }
    tls-config common {
      private_key_file = $STATE/share/pki/radius.key
      certificate_file = $STATE/share/pki/radius.pem
      ca_file = $STATE/share/pki/ca.pem
      tls_min_version = "1.2"
      tls_max_version = "1.2"
      cipher_list = "DEFAULT"
    }
    tls {
      tls = common
    }
    ttls {
      tls = common
      default_eap_type = md5
      copy_request_to_tunnel = no
      use_tunneled_reply = yes
      virtual_server = tunnelled
    }
  }
}
server default {
$(for net; do listens "$net"; done)
  authorize {
    requests
    chap
    mschap
    ${HOME_SERVER:+suffix}
    eap {
      ok = return
    }
    files
    pap
    Autz-Type Status-Server {
      $ma
      ok
    }
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type CHAP {
      chap
    }
    Auth-Type MS-CHAP {
      mschap
    }
    eap
  }
  post-auth {
    if (&EAP-Message) {
      files
    }
    $visited
    $ma
    Post-Auth-Type REJECT {
      $ma
    }
    Post-Auth-Type Challenge {
      $ma
    }
  }
  preacct {
    ${HOME_SERVER:+suffix}
  }
  accounting {
    detail
  }
}
server tunnelled {
  authorize {
    mschap
    eap {
      ok = return
    }
    files
    pap
  }
  authenticate {
    Auth-Type PAP {
      pap
    }
    Auth-Type MS-CHAP {
      mschap
    }
    eap
  }
}
$([ -z "${HOME_SERVER:-}" ] || cat <<P
home_server home {
  type = auth
  ipaddr = ${HOME_SERVER%:*}
  port = ${HOME_SERVER##*:}
  secret = $SECRET
  status_check = none
}
home_server_pool home {
  home_server = home
}
realm home.example.net {
  auth_pool = home
  nostrip
}
P
)
R
  } >"$d/radiusd.conf"
  rm -f "$LOGS/$name.log"
  spawn "radius-$name" "$AAA" freeradius -f -d "$d" -D "$STATE/dictionary"
  must "FreeRADIUS $name is up" eval "waits 10 grep -q 'Ready to process' '$LOGS/$name.log' || { tail -n 5 '$LOGS/radius-$name.log'; ip netns exec $AAA freeradius -Cx -l stdout -d '$d' -D '$STATE/dictionary' | tail -n 8; false; }"
}
radius_stop() { halt "radius-$1" "${2:-TERM}"; }

# aaa_config: the gateway's sections, for its MORE; from SERVERS (a list in YAML; r1 where unset), AAA_MORE and ROUTES
aaa_config() {
  cat <<Y
aaa:
  servers: [${SERVERS-"{ name: r1, address: $R1, secret: $SECRET, timeout: 1s, tries: 2, dead_time: 10s }"}]
  management: [10.9.0.0/24, "fd09::/64"]
  nas_identifier: gw.example.net
  nas_address: $NAS4
  accounting: { interim: 60s, journal: $STATE/journal, checkpoint: 1s }
  dynamic: { listen: ["$NAS4:3799"], clients: [{ address: $R1, secret: $COA_SECRET }] }
  ${AAA_MORE:-}
${ROUTES:-}
filters: [{ name: web, rules: [{ action: permit, direction: up, protocol: tcp, ports: 80 }, { action: permit, direction: down, protocol: tcp }, { action: deny }] }]
Y
}
# lasts USER SECONDS: that is its Session-Timeout. REST counts a session's seconds from a little before it is authorized.
lasts() { api check "user('$1')['seconds_left'] <= $2 <= user('$1')['seconds'] + user('$1')['seconds_left'] + 1 <= $2 + 20"; }
# records NAME EXPRESSION [SECONDS]: what that server has taken, see radius.py
records() { /usr/bin/python3 "$INTEROP/radius.py" records "$LOGS/$1.detail" "$2" "${3:-0}"; }
# asked NAME EXPRESSION: the same of the Access-Requests
asked() { /usr/bin/python3 "$INTEROP/radius.py" records "$LOGS/$1.requests" "$2" "${3:-0}"; }
# dynamic coa|disconnect ATTRIBUTES: a request of RFC 5176 with all that it has to have; prints what radclient says
dynamic() {
  local kind=$1; shift
  printf '%s, Event-Timestamp = %s, Message-Authenticator = 0x00\n' "$*" "$(date +%s)" |
    in_ns "$AAA" radclient -x -D "$STATE/dictionary" -r1 -t3 "$NAS4:3799" "$kind" "$COA_SECRET" 2>&1
}
answers() { local want=$1; shift; dynamic "$@" | tee "$STATE/answer" | grep -q "Received $want" || { cat "$STATE/answer"; return 1; }; }
# many_sources: a customer with 198.18.0.0/16, and a gateway that takes L2TP from it without IPsec, for many logins (lac.py)
many_sources() {
  customer; ip -n "$CUST" route add local 198.18.0.0/16 dev lo
  export ACCESS_ZONE=trusted LISTENER=", protection: none" ROUTES='routes: [{ to: 198.18.0.0/16, via: [192.0.2.20], port: access }]'
}
# logins NAME USERS-FILE PARALLEL [RATE]: begins them, no more than RATE a second; `answers_are` waits for their outcome, `leave` ends them
logins() { spawn "$1" "$CUST" /usr/bin/python3 "$INTEROP/lac.py" "$GW4" 198.18.0.0/16 "$2" "$3" 60 ${4:-}; }
answers_are() { # NAME ACCEPTED REJECTED
  check "$2 accepted, $3 rejected, none lost" eval "waits 70 grep -q ' sessions: ' '$LOGS/$1.log' && grep -q ' $2 accepted, $3 rejected, 0 lost' '$LOGS/$1.log' || { cat '$LOGS/$1.log'; false; }"
  say "$(grep ' sessions: ' "$LOGS/$1.log")"
}
leave() { check "all of them are held until they leave" left "$1"; halt "$1"; check "and gone then" api wait 'not subs' 20; }
left() { kill -TERM "${PID[$1]}"; waits 10 grep -q ' held' "$LOGS/$1.log"; grep -q "^$(grep -o '[0-9]* accepted' "$LOGS/$1.log" | cut -d' ' -f1) held" "$LOGS/$1.log"; }
# eap GUEST NAME METHOD USER [PASSWORD]: an IKE SA by EAP, as USER; EAPVARS= more variables of ike.sh
eap() { g "$1" -t 60 "[ -S /tmp/sw/vici ] || /t/ike.sh start; AUTH=eap-$3 LID=$4 EAPID=$4 ${5:+EAPPW=$5} AAAID=radius.example.net RID=gw.example.net PKI=/t/pki L=192.0.2.2 R=$GW4 ${EAPVARS:-} /t/ike.sh add $2 && T=20 /t/ike.sh up $2"; }
eap_end() { g "$1" '/t/ike.sh down gw >/dev/null 2>&1; /t/ike.sh stop; sleep 1; rm -rf /tmp/sw'; }
charon_says() { g "$1" "grep -qE '$2' /tmp/sw/charon.log"; }
# meddler NAME PORT SERVER MODE: what an AAA server on the way could do, see radius.py
meddler() {
  spawn "$1" "$AAA" /usr/bin/python3 "$INTEROP/radius.py" proxy "$2" "$3" "$SECRET" "$4"
  must "the proxy ($4) is up" waits 10 eval "in_ns $AAA ss -Hlun 'sport = :$2' | grep -q ."
}

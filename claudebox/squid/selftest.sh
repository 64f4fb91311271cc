# Tries, inside a box, to get out by another way than squid; one line for each that worked, then `done`.
#   bash selftest.sh SQUID_PORT…      squid's own ports, which only the machine itself may reach
# Nothing leaves the machine even where a way is open: connecting a UDP socket only looks for a route.
opens() { (exec 3<>"/dev/$1") 2>/dev/null; }

opens udp/192.0.2.1/53 && echo "there is a route to IPv4 addresses"
opens udp/2001:db8::1/53 && echo "there is a route to IPv6 addresses"
for port; do
    opens "tcp/127.0.0.1/$port" && echo "port $port of the machine itself is in reach"
done

n=0
while read -r interface _; do
    n=$((n + 1))
    case $n:$interface in 1:* | 2:* | *:lo:*) ;; *) echo "there is a network interface $interface" ;; esac
done </proc/net/dev
[ "$n" -gt 2 ] || echo "the network interfaces could not be read"

while read -r name value; do
    case $name$value in
    NoNewPrivs:1 | Seccomp:2 | CapEff:0000000000000000 | CapBnd:0000000000000000) ;;
    NoNewPrivs:* | Seccomp:* | CapEff:* | CapBnd:*) echo "a process in it has $name $value" ;;
    esac
done </proc/self/status
[ -w /proc/sys/kernel/core_pattern ] && echo "the kernel's settings can be written"
[ -w /usr ] && echo "the machine's programs can be written"

asked() { # TARGET: squid must refuse it
    if ! exec 3<>/dev/tcp/127.0.0.1/3128; then
        echo "squid is out of reach"
        return
    fi
    printf 'CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n' "$1" "$1" >&3
    answer=
    read -r -t 10 _ answer _ <&3
    exec 3>&-
    [ "$answer" = 403 ] || echo "squid answered ${answer:-nothing} to a connection to $1, where it must refuse"
}
asked rdev-self-test.invalid:443
asked 192.0.2.1:443
asked '[2001:db8::1]:443'
echo done

#!/bin/sh
# Answers squid, line by line: may SRC reach DST at PORT with METHOD?
#   policy.sh ALLOW_DIR MODEL_PORT [UID]
# ALLOW_DIR/127.A.B lists what a box may reach, ALLOW_DIR/127.A.B.S what its slot S may reach beyond that:
# a `host`, a `.host` (and all below it), or either with `:port`. Without a port: 443, and 80 for plain HTTP.
# On MODEL_PORT every box that is up may speak, and nobody else of the machine in its name: anyone may dial from a loopback
# address, so with UID the connection must be that user's. The host is the model API's own.
set -uf
dir=$1 model=$2 owner=${3-}

named() { # PATTERN-NAME HOST
    case $1 in
    .*) case .$2 in *"$1") return 0 ;; esac ;;
    *) [ "$1" = "$2" ] && return 0 ;;
    esac
    return 1
}

listed() { # FILE HOST PORT METHOD
    [ -r "$1" ] || return 1
    while read -r pattern; do
        case $pattern in
        '') continue ;;
        *:*) [ "${pattern##*:}" = "$3" ] || continue ;;
        *) [ "$3" = 443 ] || [ "$3 $4" != "80 CONNECT" -a "$3" = 80 ] || continue ;;
        esac
        named "${pattern%:*}" "$2" && return 0
    done <"$1"
    return 1
}

owned() { # SRC SRC-PORT
    [ "$owner" ] || return 0
    IFS=. read -r a b c d <<END
$1
END
    wanted=$(printf '%02X%02X%02X%02X:%04X' "$d" "$c" "$b" "$a" "$2")
    # grep, since the shell reads byte by byte: with a thousand connections of the machine's that takes 100 ms.
    grep -Eqs "^ *[0-9]+: $wanted [^ ]+ [^ ]+ [^ ]+ [^ ]+ [^ ]+ +$owner " /proc/net/tcp
}

allowed() { # SRC HOST PORT METHOD LISTENING-PORT SRC-PORT
    case $1 in *[!0-9.]* | '') return 1 ;; esac
    if [ "$5" = "$model" ]; then
        [ -e "$dir/${1%.*}" ] && owned "$1" "$6"
    else
        listed "$dir/${1%.*}" "$2" "$3" "$4" || listed "$dir/$1" "$2" "$3" "$4"
    fi
}

while read -r channel src host port method listening from _; do
    if allowed "$src" "$host" "$port" "$method" "$listening" "$from"; then
        echo "$channel OK"
    else
        echo "$channel ERR"
    fi
done

# Sends signal $2 to every process whose environment holds $1, to those with the numbers in $3,
# and to all that came from any of them; prints the numbers of all.
# Only what every shell has built in: an image need not have ps, grep or sleep.
tag=$1 signal=$2 known=$3 round=0
while [ "$round" -lt 20 ]; do
  family=' '
  for directory in /proc/[0-9]*; do
    pid=${directory#/proc/}
    IFS= read -r line < "$directory/stat" || continue
    set -f; set -- ${line##*) }; set +f
    [ "$1" = Z ] && continue
    case " $known " in *" $pid "*) family="$family$pid "; continue ;; esac
    while IFS= read -r line || [ -n "$line" ]; do
      case $line in *"$tag"*) family="$family$pid "; break ;; esac
    done < "$directory/environ"
  done
  found=yes
  while [ -n "$found" ]; do
    found=
    for directory in /proc/[0-9]*; do
      pid=${directory#/proc/}
      case $family in *" $pid "*) continue ;; esac
      IFS= read -r line < "$directory/stat" || continue
      set -f; set -- ${line##*) }; set +f
      [ "$1" = Z ] && continue
      for other in "$2" "$3" "$4"; do
        case $family in *" $other "*) family="$family$pid "; found=yes; break ;; esac
      done
    done
  done
  [ "$round" -eq 0 ] && echo "$family"
  [ "$family" = ' ' ] && exit 0
  for pid in $family; do kill -s "$signal" "$pid"; done
  [ "$signal" = KILL ] || exit 0
  round=$((round + 1))
done 2> /dev/null

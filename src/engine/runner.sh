#!/bin/bash
# What a script pod's sh starts, as far as it depends on the image: a script for /bin/bash that asks for the machine,
# then hands over to a program.
for command in dirname uname; do
  command -v "$command" >/dev/null || { echo "$command: command not found"; exit 127; }
done
printf '%s runner pass /bin/bash\n' '@MARK@'
exec "$@"

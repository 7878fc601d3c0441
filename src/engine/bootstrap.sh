# What a Bash step's script starts with, as far as it depends on the image: run by imglint in the image's own bash.
# Each line that begins with the mark is a stage, its outcome, and what was seen. Another mark is put in for each container.
mark='@MARK@'
tools=$1
say() { printf '%s %s %s %s\n' "$mark" "$1" "$2" "$3"; }

say shell:bash pass "bash ${BASH_VERSION:-of an unknown version}"

# A variable comes encrypted, and goes back as base64 in messages: both by openssl.
value=$(printf %s 'pt4zR7JmQmrLs+BD/pFm0Di0Ys/kfxQ5aiYFFk9x8TY=' |
  openssl enc -a -A -d -aes-128-cbc -nosalt -K 000102030405060708090a0b0c0d0e0f -iv 0f0e0d0c0b0a09080706050403020100 2>&1)
if [ "$value" = "imglint reads its variable" ]; then
  say variables pass "a variable was decrypted"
else
  say variables fail "the variable's value is: ${value:-empty}"
fi

to_base64() { printf %s "$1" | openssl enc -base64 -A 2>/dev/null; }
if printf 'made by the step\n' > artifact.txt; then
  path="$(cd "$(dirname artifact.txt)" && pwd -P)/$(basename artifact.txt)"
  printf "##octopus[createArtifact path='%s' name='%s' length='%s']\n" \
    "$(to_base64 "$path")" "$(to_base64 artifact.txt)" "$(to_base64 "$(wc -c < artifact.txt)")"
else
  say artifact fail "the work folder cannot be written to"
fi

# Programs that need the libraries of one ICU, or of one OpenSSL, and nothing more: the first that starts tells which.
# imglint itself has tried those that it expects to start. It tries the one that is named here again.
first_that_starts() {
  found=
  for probe in "$tools/$1"-*; do
    [ -e "$probe" ] || return
    found=$("$probe" 2>/dev/null)
    case $found in *"$3"*) say "$2" pass "${probe##*/}"; return ;; esac
  done
  say "$2" fail "none of the libraries that .NET looks for can be loaded"
}
first_that_starts icu globalization '@PROOF@'
first_that_starts ssl cryptography '@PROOF@'

while read -r name; do
  if found=$(command -v "$name"); then say "tool:$name" pass "$found"; else say "tool:$name" fail "not found"; fi
done < "$tools/tools"
exit 42

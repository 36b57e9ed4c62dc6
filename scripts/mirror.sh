# For other scripts to source: the Debian mirror that this machine already uses, asked for other suites.

# The source that serves bookworm main, rewritten to serve main of the suites named. The last line is its form:
# deb822 or line. Nothing when there is none.
mirror_source() {
    local suites=$* suite file line
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -r "$file" ] || continue
        # One stanza at a time; fields go on over lines that start with a space.
        awk -v suites="$suites" '
            BEGIN { RS = ""; FS = "\n" }
            {
                split("", value); field = ""; kept = ""; on = 1
                for (i = 1; i <= NF; i++) {
                    if ($i ~ /^#/) continue
                    if ($i !~ /^[ \t]/) {
                        field = tolower($i); sub(/:.*/, "", field)
                        text = $i; sub(/^[^:]*:/, "", text)
                    } else text = $i
                    value[field] = value[field] " " text " "
                    if (field !~ /^(types|suites|components|enabled)$/) kept = kept $i "\n"
                }
                gsub(/\t/, " ", value["suites"])
                if (value["suites"] ~ / bookworm / && value["components"] ~ / main / &&
                    value["types"] ~ / deb / && tolower(value["enabled"]) !~ / no /) {
                    printf "Types: deb\nSuites: %s\nComponents: main\n%s", suites, kept
                    exit
                }
            }' "$file" | { grep . && echo deb822; } && return
    done
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -r "$file" ] || continue
        line=$(grep -E '^ *deb\s.*\sbookworm\s(.*\s)?main(\s|$)' "$file") || continue
        for suite in $suites; do
            head -n 1 <<<"$line" | sed "s/\(\s\)bookworm\s.*/\1$suite main/"
        done
        echo line
        return
    done
}

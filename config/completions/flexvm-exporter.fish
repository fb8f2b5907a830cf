# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_flexvm_exporter_global_optspecs
    string join \n config.file= web.listen-address= web.config.file= web.telemetry-path= web.external-url= web.route-prefix= log.level= log.format= h/help V/version
end

function __fish_flexvm_exporter_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_flexvm_exporter_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_flexvm_exporter_using_subcommand
    set -l cmd (__fish_flexvm_exporter_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -s V -l version -d 'Print version'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "serve" -d 'The daemon: polls, serves, closes months (the default)'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "demo" -d 'Simulator and daemon in one process, with last month closed at once'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "report" -d 'Closes months now, or shows what closing them would give'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "check" -d 'Reads the configuration and prints every problem'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "ledger" -d 'Copies, describes or lists the ledger, safely beside a running daemon'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "simulate" -d 'The FlexVM API simulator alone'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "health" -d 'Exit 0 when the daemon is ready'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand serve" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l dir -d 'Folder for reports and ledger [default: a new temporary one]' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l listen -d 'Address to listen on' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l fault -d 'Fault of the simulated API; can be repeated; docs/simulator.md describes each fault' -r -f -a "null-values\t'Absent values are null, also the node of a VM that is being provisioned'
unknown-fields\t'Responses have fields, VM statuses and sites that are not documented'
unreadable-text\t'Names and tags of some VMs are not valid Unicode'
unreadable-values\t'Times of some VMs and figures of some instance types cannot be read'
odd-text\t'Names and tags contain separators, quotes, formulas and reserved texts'
long-text\t'Names of VMs have 2,000 characters'
upper-case-ids\t'Ids are written in upper case'
empty-clouds\t'The list of clouds is empty, but each cloud is returned by its id'
missing-cloud\t'The list of clouds lacks a cloud, but the cloud is returned by its id'
missing-cloud-not-found\t'The list of clouds lacks a cloud, and the request by its id returns 404 of a gateway'
missing-node\t'Lists of nodes lack a node, but the node is returned by its id'
missing-vms\t'Lists of VMs lack some VMs, but each VM is returned by its id'
stalled-lookups\t'Lists of VMs lack some VMs, and requests by id do not respond'
ignored-paging\t'The server ignores the paging header and returns whole lists'
shifting-pages\t'Rows of VM lists move between two pages'
negative-capacity\t'More is in use than exists, so the available amount is negative'
unreadable-capacity\t'Figures of the capacity are absent, negative or fractions'
missing-instance-type\t'The catalogue lacks instance types that VMs use'
empty-catalogue\t'The catalogue is empty'
empty-month\t'Reports of ended months are empty'
incomplete-month\t'Reports of ended months lack some VMs'
late-change\t'From 2 minutes after the start on, ended months have a VM with more hours'
late-totals\t'From 2 minutes after the start on, ended months have other totals for the same VMs'
duplicate-rows\t'Reports of ended months contain every VM twice'
conflicting-rows\t'Reports of ended months contain a cloud twice, with different totals'
wrong-period\t'Reports of ended months are for another period'
previous-month-fails\t'Requests for reports of ended months return 500'
no-date\t'Responses have no Date'
wrong-date\t'The Date of responses is one day ahead'
cached-responses\t'Responses come from a cache: they have an Age, and a Date of one hour ago'
rate-limit\t'In every second minute, requests are refused with 429 and Retry-After'
server-errors\t'In every second minute, a gateway responds with 502 and an HTML page'
forbidden\t'In every second minute, requests are refused with 403'
stalled\t'In every second minute, requests get no response'
slow\t'Responses take 3 s'
dropped-connections\t'Every tenth connection is closed without a response'
truncated-responses\t'Every tenth response ends in the middle'"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l month -d 'The month, or the first and last of several: 2026-10 or 2026-08..2026-10' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l tenant -d 'Only this tenant' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l out -d 'Write a copy into this folder and close nothing' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l from-file -d 'Close the month from a saved response of the provider; restates a month that is closed already' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l reason -d 'Why the month is restated, waived, or closed on these terms; the manifest or the ledger keeps it' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l restate -d 'Write a new revision of a closed month'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l force -d 'Write the new revision although nothing that counts differs'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l accept-incomplete -d 'Close the month although the response lacks VMs that polls observed in use'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l waive -d 'Settle the open difference of a closed month without a new revision'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -l dry-run -d 'Write nothing, show the totals'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand report" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l output -d 'How to print' -r -f -a "table\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -l online -d 'Also call each read endpoint once per tenant'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand check" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -f -a "backup" -d 'Copies the ledger, as of one moment, into a new file'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -f -a "inspect" -d 'Describes what the ledger holds'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -f -a "export" -d 'Lists every recorded event as CSV'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and not __fish_seen_subcommand_from backup inspect export help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l output -d 'How to print' -r -f -a "table\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from inspect" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "backup" -d 'Copies the ledger, as of one moment, into a new file'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "inspect" -d 'Describes what the ledger holds'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "export" -d 'Lists every recorded event as CSV'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand ledger; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l listen -d 'Address to listen on' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l seed -d 'The world\'s seed' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l vms -d 'Living VMs over all clouds' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l clouds -d 'Clouds' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l months -d 'Months of history before the running one' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l token -d 'The token that is accepted' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l page-cap -d 'Largest page, whatever is asked for' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l fault -d 'Fault of the API; can be repeated; docs/simulator.md describes each fault' -r -f -a "null-values\t'Absent values are null, also the node of a VM that is being provisioned'
unknown-fields\t'Responses have fields, VM statuses and sites that are not documented'
unreadable-text\t'Names and tags of some VMs are not valid Unicode'
unreadable-values\t'Times of some VMs and figures of some instance types cannot be read'
odd-text\t'Names and tags contain separators, quotes, formulas and reserved texts'
long-text\t'Names of VMs have 2,000 characters'
upper-case-ids\t'Ids are written in upper case'
empty-clouds\t'The list of clouds is empty, but each cloud is returned by its id'
missing-cloud\t'The list of clouds lacks a cloud, but the cloud is returned by its id'
missing-cloud-not-found\t'The list of clouds lacks a cloud, and the request by its id returns 404 of a gateway'
missing-node\t'Lists of nodes lack a node, but the node is returned by its id'
missing-vms\t'Lists of VMs lack some VMs, but each VM is returned by its id'
stalled-lookups\t'Lists of VMs lack some VMs, and requests by id do not respond'
ignored-paging\t'The server ignores the paging header and returns whole lists'
shifting-pages\t'Rows of VM lists move between two pages'
negative-capacity\t'More is in use than exists, so the available amount is negative'
unreadable-capacity\t'Figures of the capacity are absent, negative or fractions'
missing-instance-type\t'The catalogue lacks instance types that VMs use'
empty-catalogue\t'The catalogue is empty'
empty-month\t'Reports of ended months are empty'
incomplete-month\t'Reports of ended months lack some VMs'
late-change\t'From 2 minutes after the start on, ended months have a VM with more hours'
late-totals\t'From 2 minutes after the start on, ended months have other totals for the same VMs'
duplicate-rows\t'Reports of ended months contain every VM twice'
conflicting-rows\t'Reports of ended months contain a cloud twice, with different totals'
wrong-period\t'Reports of ended months are for another period'
previous-month-fails\t'Requests for reports of ended months return 500'
no-date\t'Responses have no Date'
wrong-date\t'The Date of responses is one day ahead'
cached-responses\t'Responses come from a cache: they have an Age, and a Date of one hour ago'
rate-limit\t'In every second minute, requests are refused with 429 and Retry-After'
server-errors\t'In every second minute, a gateway responds with 502 and an HTML page'
forbidden\t'In every second minute, requests are refused with 403'
stalled\t'In every second minute, requests get no response'
slow\t'Responses take 3 s'
dropped-connections\t'Every tenth connection is closed without a response'
truncated-responses\t'Every tenth response ends in the middle'"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand simulate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l config.file -d 'Configuration file (YAML); without it FLEXVM_CONFIG_FILE, then the other FLEXVM_ variables' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l web.listen-address -d 'Address to listen on, again for more [default: 0.0.0.0:10935]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l web.config.file -d 'Web configuration file of the exporter toolkit' -r -F
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l web.telemetry-path -d 'Path of the metrics' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l web.external-url -d 'URL that users open, such as https://host/flexvm/ behind a reverse proxy' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l web.route-prefix -d 'Prefix of the paths of all pages [default: the path of --web.external-url]' -r
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l log.level -d 'Least severity that is logged' -r -f -a "debug\t''
info\t''
warn\t''
error\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -l log.format -d 'Format of the log, which goes to standard error' -r -f -a "logfmt\t''
json\t''"
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand health" -s h -l help -d 'Print help'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "serve" -d 'The daemon: polls, serves, closes months (the default)'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "demo" -d 'Simulator and daemon in one process, with last month closed at once'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "report" -d 'Closes months now, or shows what closing them would give'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "check" -d 'Reads the configuration and prints every problem'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "ledger" -d 'Copies, describes or lists the ledger, safely beside a running daemon'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "simulate" -d 'The FlexVM API simulator alone'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "health" -d 'Exit 0 when the daemon is ready'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and not __fish_seen_subcommand_from serve demo report check ledger simulate health help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "backup" -d 'Copies the ledger, as of one moment, into a new file'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "inspect" -d 'Describes what the ledger holds'
complete -c flexvm-exporter -n "__fish_flexvm_exporter_using_subcommand help; and __fish_seen_subcommand_from ledger" -f -a "export" -d 'Lists every recorded event as CSV'

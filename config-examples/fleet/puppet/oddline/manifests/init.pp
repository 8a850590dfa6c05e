# @summary oddline beside an agent: release in place, configuration, check, service.
#
# The canary is an environment or a node group of its own that gets the new `version` first; the others follow once its runs are green:
# a run fails when `oddline doctor` does, and the service is neither restarted onto what failed nor started at boot. The way back is the version before,
# whose files are still below `releases`.
#
# @param version   the release, a directory below `releases`
# @param source    where its unpacked files come from, such as puppet:///modules/oddline_release/0.1.0
# @param agent     vector or fluent-bit
# @param plugins   names of manifests of the release
# @param config    keys of `oddline config example`
# @param serve     options of `oddline serve --serve-config`
# @param baseline  source of what other hosts have learned, for a host that has learned nothing yet
# @param root      another root, and no service, to try it
class oddline (
  String[1]                $version,
  String[1]                $source,
  Enum[vector, fluent-bit] $agent    = 'vector',
  Array[String[1]]         $plugins  = ['vector-sidecar'],
  Hash                     $config   = { 'partition_by' => ['host'] },
  Hash                     $serve    = {
    'vector' => { 'listen' => '127.0.0.1:6100', 'forward' => 'http://127.0.0.1:6101' },
    'http'   => { 'listen' => '127.0.0.1:6180' },
  },
  Optional[String[1]]      $baseline = undef,
  String                   $data_dir = '/var/lib/oddline',
  String                   $releases = '/opt/oddline',
  String                   $root     = '',
) {
  $release = "${root}${releases}/${version}"
  $etc = "${root}/etc/oddline"
  $install_root = $root ? {
    ''      => '/',
    default => $root,
  }
  $chosen = $plugins.map |$name| { "--plugin ${name}" }.join(' ')
  $install = "${release}/bin/oddline install --agent ${agent} ${chosen} --root ${install_root} --format json"
  $baseline_keys = $baseline ? {
    undef   => {},
    default => { 'baseline' => "${etc}/fleet.baseline" },
  }
  $settings = $config + $baseline_keys
  # What was checked, as it is on the host: a release, and the files that are given to it. Written when the check was passed, and only then.
  $stamp = "${root}${releases}/checked"
  $baseline_file = $baseline ? {
    undef   => '',
    default => " ${etc}/fleet.baseline",
  }
  $default_file = $root ? {
    ''      => ' /etc/default/oddline',
    default => '',
  }
  $what = "{ echo ${version}; sha256sum ${root}/usr/bin/oddline ${etc}/oddline.json ${etc}/serve.json${baseline_file}${default_file}; }"
  $is_checked = "${what} 2>&1 | cmp -s - ${stamp}"
  $check = $root ? {
    ''      => [Exec['oddline stop'], Exec['oddline doctor']],
    default => Exec['oddline doctor'],
  }

  file { ["${root}${releases}", $etc]:
    ensure => directory,
  }
  file { $release:
    ensure  => directory,
    source  => $source,
    recurse => true,
    mode    => '0755',
  }

  # Only what the receipt says is ours is replaced; what is somebody else's ends it here.
  exec { 'oddline install':
    command  => $install,
    unless   => "${install} --dry-run | grep -q '\"changed\": false'",
    provider => shell,
    require  => File[$release],
    before   => $check,
  }

  if $baseline {
    file { "${etc}/fleet.baseline":
      source => $baseline,
      before => $check,
    }
  }
  file { "${etc}/oddline.json":
    content      => inline_template("<%= require 'json'; JSON.pretty_generate(@settings) %>\n"),
    require      => Exec['oddline install'],
    before       => $check,
  }
  file { "${etc}/serve.json":
    content => inline_template("<%= require 'json'; JSON.pretty_generate(@serve) %>\n"),
    before  => $check,
  }

  # What fails here is not started: the service below needs it, in this run and in every other until it is passed.
  exec { 'oddline doctor':
    command   => "${root}/usr/bin/oddline doctor --format json --config ${etc}/oddline.json --data-dir ${root}${data_dir} && ${what} >${stamp}",
    unless    => $is_checked,
    provider  => shell,
    logoutput => on_failure,
  }

  if $root == '' {
    user { 'oddline':
      system => true,
      home   => $data_dir,
      shell  => '/usr/sbin/nologin',
    }
    file { '/etc/default/oddline':
      content => "ODDLINE_SERVE=--config ${etc}/oddline.json --serve-config ${etc}/serve.json\n",
      before  => $check,
    }
    # While it runs the data dir is its own. Nor is it started at the next boot with what was not checked: the service enables it again.
    exec { 'oddline stop':
      command  => '/bin/systemctl daemon-reload; /bin/systemctl disable --now oddline',
      unless   => $is_checked,
      provider => shell,
      before   => Exec['oddline doctor'],
    }
    service { 'oddline':
      ensure  => running,
      enable  => true,
      require => [User['oddline'], Exec['oddline doctor']],
    }
  }
}

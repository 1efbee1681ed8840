/** Where the machine's own folders lie. */
export interface Folders {
  readonly run: string;
  readonly state: string;
  readonly etc: string;
}

/**
 * What the machine stands on, with all that lies in it. Agents never change it by naming its path, whatever they were granted:
 * it is changed by tools of its own, if at all.
 */
export interface Place {
  /** Absolute; `*` stands for any part of one name. */
  readonly paths: readonly string[];
  /**
   * Who may change it by a tool that names a path. An admin is asked first, and shown what it breaks; "granted" are admins, unasked,
   * and agents that were granted it: of people below an admin nobody.
   */
  readonly change: "granted" | "admin" | "nobody";
  /** Who may read it; when absent, whoever was granted it. */
  readonly read?: "admin" | "nobody";
  readonly holds: string;
  /** What a change to it breaks. */
  readonly breaks: string;
  /** What changes it instead. */
  readonly way?: string;
  /** What lies in it and is open all the same. */
  readonly open?: readonly string[];
  /** Only the folder itself: what lies in it is open. */
  readonly itself?: true;
  /** What lies there is protected under this name only: it has others, which are open, or no hard links. */
  readonly byName?: true;
}

const etc = (...names: readonly string[]) => names.map((name) => `/etc/${name}`);

/** All of them: those that nobody changes, those of an admin, and what is granted to agents piece by piece. */
export const protectedPlaces = (folders: Folders): readonly Place[] => [
  ...nobodys(folders),
  ...admins(folders),
  ...settingsOfRoot,
  {
    paths: ["/etc", "/opt", "/var"],
    open: ["/var/log", "/var/tmp", "/var/www", `${folders.state}/reports`],
    ...{ change: "granted", holds: "what programs that run as root are made of, set to, and keep" },
    ...{ breaks: "a program that runs as root, or it does what the change says", way: "a goal, or service.define" },
  },
];

function nobodys({ run, state }: Folders): readonly Place[] {
  return [
    {
      paths: [`${state}/ledger`],
      ...{ change: "nobody", read: "nobody", holds: "the ledger, its key, the grants and what undoes calls" },
      breaks: "the record of all that was done",
    },
    {
      paths: [`${state}/backups`],
      ...{ change: "nobody", read: "nobody", holds: "the backups", breaks: "what would be restored" },
      way: "backup.restore or backup.remove",
    },
    {
      paths: [`${state}/console`, `${run}/provision`],
      ...{ change: "nobody", read: "nobody", holds: "the machine's certificate authority and key" },
      breaks: "who may come in: nobody could any more, or anybody",
    },
    {
      paths: [`${state}/gateway`],
      ...{ change: "nobody", read: "nobody", holds: "the keys of model providers" },
      ...{ breaks: "these keys, and the count of what was spent", way: "aiosctl secrets" },
    },
    {
      paths: [`${state}/memory`, `${state}/vectors`],
      ...{ change: "nobody", holds: "databases in use", breaks: "goals, knowledge and events" },
    },
    // The data volume and the image lie open there: the same files by another name.
    {
      paths: ["/mnt", "/mnt/data/overlay"],
      ...{ change: "nobody", read: "nobody", byName: true, holds: "the volumes that the root is made of" },
      breaks: "the root itself, under all that uses it",
    },
    {
      paths: [run, "/run/aios-*"],
      ...{ change: "nobody", byName: true, holds: "the daemons' sockets and what PID 1 hands them" },
      breaks: "every call between daemons",
    },
    {
      paths: ["/run/containers", "/run/crun", "/run/libpod", "/run/udev", "/run/systemd", "/run/dbus"],
      ...{ change: "nobody", byName: true, holds: "what programs of root go by while they run" },
      breaks: "containers and devices, or they are made with root's rights",
    },
    {
      paths: ["/proc", "/sys"],
      ...{ change: "nobody", byName: true, holds: "the kernel's own settings" },
      breaks: "the machine as it runs: the kernel stops or is reconfigured at once",
    },
    {
      paths: ["/dev"],
      ...{ change: "nobody", byName: true, open: ["/dev/shm"], holds: "devices" },
      ...{ breaks: "disks and file systems in use", way: "storage.mkfs or storage.mount" },
    },
    {
      paths: ["/home", "/root", "/tmp", "/var/tmp", "/var/log", "/run", "/dev/shm"],
      ...{ change: "nobody", byName: true, itself: true, holds: "what the boot mounts there, or programs keep there" },
      breaks: "every program that needs the folder",
    },
  ];
}

function admins({ state, etc: config }: Folders): readonly Place[] {
  return [
    {
      paths: [state],
      // What goals write for people.
      open: [`${state}/reports`],
      ...{ change: "admin", holds: "the daemons' state and the code that they have compiled" },
      ...{ breaks: "what daemons know and run", way: "aiosctl models, or the tools of the state" },
    },
    {
      paths: [`${config}/security`],
      ...{ change: "admin", read: "admin", holds: "policy and API keys", breaks: "what agents are held by" },
    },
    {
      paths: [`${config}/services`],
      ...{ change: "admin", holds: "the services that PID 1 runs", way: "service.define" },
      breaks: "these services, or PID 1 runs another program as root",
    },
    {
      paths: [config],
      ...{ change: "admin", holds: "the machine's configuration, its agents, procedures and triggers" },
      ...{ breaks: "how it boots and what it does unasked", way: "config.set" },
    },
    {
      paths: ["/usr", "/bin", "/sbin", "/lib", "/lib64"],
      ...{ change: "admin", holds: "Node, the daemons, and all programs and libraries", way: "pkg.install" },
      breaks: "the boot, the daemons and every program that is started",
    },
    { paths: ["/boot", "/efi"], change: "admin", holds: "the kernel and its loader", breaks: "the next boot" },
    {
      paths: ["/var/log/aios"],
      ...{ change: "admin", holds: "the logs", breaks: "the record of what daemons said, and their logging" },
    },
    {
      // What is downloaded there already is installed by its name and size.
      paths: ["/var/lib/dpkg", "/var/lib/apt", "/var/cache/apt", "/var/cache/debconf"],
      ...{ change: "admin", holds: "the record of what is installed, and packages", way: "the tools of pkg" },
      breaks: "installing, updating and removing packages",
    },
  ];
}

/** What programs that run as root are set to: an admin's. */
const settingsOfRoot: readonly Place[] = [
  {
    paths: etc("shadow*", "gshadow*"),
    ...{ change: "admin", read: "admin", holds: "passwords", breaks: "who may log in" },
  },
  {
    paths: etc(
      "passwd*",
      "group*",
      "subuid*",
      "subgid*",
      "sudo*",
      "doas.conf",
      "login.defs",
      "security",
      "pam.*",
      "polkit-1",
    ),
    ...{ change: "admin", holds: "who may do what on this machine" },
    breaks: "accounts: a mistake leaves daemons without one, a trick makes somebody root",
  },
  {
    paths: ["/etc/ssh", "/root/.ssh", "/home/*/.ssh"],
    ...{ change: "admin", read: "admin", holds: "keys, and who may log in by which", breaks: "who may log in" },
  },
  {
    paths: [
      ...etc(
        "ld.so.*",
        "nsswitch.conf",
        "alternatives",
        "profile*",
        "environment",
        "bash*",
        "gitconfig",
        "containers",
        "perl*",
        "python*",
        "gss",
        "lvm",
      ),
      "/root/.*",
    ],
    ...{ change: "admin", holds: "what root's programs load and read when they start" },
    breaks: "every program at once, or it has them run foreign code",
  },
  {
    paths: etc("apt", "dpkg", "debconf.conf", "ssl/certs", "ssl/openssl.cnf", "ca-certificates*"),
    ...{ change: "admin", holds: "whom the machine believes: sources of packages, their keys, authorities" },
    breaks: "updates and connections, or it has foreign programs installed as root",
  },
  {
    paths: etc(
      ...["fstab", "crypttab", "mke2fs.conf", "e2fsck.conf", "modules*", "modprobe.d", "sysctl*", "udev", "nftables*"],
      ...["default/grub*", "grub.d", "kernel", "initramfs-tools"],
    ),
    ...{ change: "admin", holds: "what the kernel and its file systems are set to", breaks: "the next boot" },
  },
  {
    paths: [
      ...etc("init.d", "rc.local", "rc*.d", "inittab", "inetd.conf", "xinetd*", "cron*", "anacrontab", "systemd"),
      ...etc("dbus-1", "network", "update-motd.d", "logrotate*"),
      ...["/var/spool/cron", "/var/spool/anacron", "/var/spool/at"],
    ],
    ...{ change: "admin", holds: "what is started as root", breaks: "what runs, and as whom", way: "service.define" },
  },
];

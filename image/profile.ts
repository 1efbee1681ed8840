/** What is built for: `qemu` is small and quick to build, `metal` knows real hardware. */
export const profiles = ["qemu", "metal"] as const;
export type Profile = (typeof profiles)[number];

interface ProfileSpec {
  /** Fragments of kernel-config/, in the order they are merged. */
  readonly fragments: readonly string[];
  /** Debian packages beside rootfs/packages.list: rootfs/packages.NAME.list, fixed in packages.NAME.lock. */
  readonly packages?: "metal";
  /** Carries llama.cpp's back end for Vulkan. */
  readonly vulkan: boolean;
  /** Consoles of the kernel; the last one is /dev/console. */
  readonly consoles: readonly string[];
}

export const profileSpecs: Readonly<Record<Profile, ProfileSpec>> = {
  qemu: { fragments: ["base", "virtio", "security", "qemu"], vulkan: false, consoles: ["ttyS0"] },
  metal: {
    fragments: ["base", "virtio", "security", "metal", "modules", "gpu-amd", "gpu-intel", "gpu-nvidia"],
    packages: "metal",
    vulkan: true,
    consoles: ["ttyS0,115200", "tty0"],
  },
};

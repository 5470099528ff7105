package state

import (
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

func volumes(o Options) *Kind {
	const prefix = "kube_persistentvolume"
	families := []family[*corev1.PersistentVolume]{
		info(prefix+"_info", "The volume: its class, and what is behind it.", func(v *corev1.PersistentVolume) []string {
			pairs := []string{"storageclass", v.Spec.StorageClassName, "reclaim_policy", string(v.Spec.PersistentVolumeReclaimPolicy)}
			return append(pairs, volumeSource(&v.Spec.PersistentVolumeSource)...)
		}),
		created[*corev1.PersistentVolume](prefix),
		deleting[*corev1.PersistentVolume](prefix),
		number(prefix+"_capacity_bytes", "Size of the volume.", func(v *corev1.PersistentVolume) float64 {
			q := v.Spec.Capacity[corev1.ResourceStorage]
			return float64(q.Value())
		}),
		many(prefix+"_status_phase", "1 for the phase that the volume is in, 0 for the others.", func(v *corev1.PersistentVolume, e *emitter) {
			if v.Status.Phase != "" {
				e.oneOf("phase", string(v.Status.Phase), "Pending", "Available", "Bound", "Released", "Failed")
			}
		}),
		many(prefix+"_claim_ref", "The claim that has the volume.", func(v *corev1.PersistentVolume, e *emitter) {
			if c := v.Spec.ClaimRef; c != nil {
				e.add(1, "name", c.Name, "claim_namespace", c.Namespace)
			}
		}),
		info(prefix+"_volume_mode", "Whether the volume is a file system or a block device.", func(v *corev1.PersistentVolume) []string {
			if v.Spec.VolumeMode == nil {
				return []string{"volumemode", string(corev1.PersistentVolumeFilesystem)}
			}
			return []string{"volumemode", string(*v.Spec.VolumeMode)}
		}),
	}
	families = append(families, chosen[*corev1.PersistentVolume](prefix, "persistentvolumes", o)...)
	return kindOf("persistentvolumes", func(v *corev1.PersistentVolume) []string { return []string{"persistentvolume", v.Name} }, families)
}

// volumeSource says what a volume is of, as pairs of label and value.
func volumeSource(s *corev1.PersistentVolumeSource) []string {
	switch {
	case s.GCEPersistentDisk != nil:
		return []string{"gce_persistent_disk_name", s.GCEPersistentDisk.PDName}
	case s.AWSElasticBlockStore != nil:
		return []string{"ebs_volume_id", s.AWSElasticBlockStore.VolumeID}
	case s.AzureDisk != nil:
		return []string{"azure_disk_name", s.AzureDisk.DiskName}
	case s.FC != nil:
		lun := ""
		if s.FC.Lun != nil {
			lun = strconv.Itoa(int(*s.FC.Lun))
		}
		return []string{"fc_wwids", strings.Join(s.FC.WWIDs, ","), "fc_lun", lun, "fc_target_wwns", strings.Join(s.FC.TargetWWNs, ",")}
	case s.ISCSI != nil:
		return []string{
			"iscsi_target_portal", s.ISCSI.TargetPortal, "iscsi_iqn", s.ISCSI.IQN, "iscsi_lun", strconv.Itoa(int(s.ISCSI.Lun)),
			"iscsi_initiator_name", text(s.ISCSI.InitiatorName),
		}
	case s.NFS != nil:
		return []string{"nfs_server", s.NFS.Server, "nfs_path", s.NFS.Path}
	case s.CSI != nil:
		return []string{"csi_driver", s.CSI.Driver, "csi_volume_handle", s.CSI.VolumeHandle}
	case s.Local != nil:
		return []string{"local_path", s.Local.Path, "local_fs", text(s.Local.FSType)}
	case s.HostPath != nil:
		return []string{"host_path", s.HostPath.Path, "host_path_type", text(s.HostPath.Type)}
	}
	return nil
}

func claims(o Options) *Kind {
	const prefix = "kube_persistentvolumeclaim"
	families := []family[*corev1.PersistentVolumeClaim]{
		info(prefix+"_info", "The claim: its class, and the volume that it has.", func(c *corev1.PersistentVolumeClaim) []string {
			class, old := c.Annotations[corev1.BetaStorageClassAnnotation]
			if !old {
				class = text(c.Spec.StorageClassName)
			}
			return []string{"storageclass", class, "volumename", c.Spec.VolumeName, "volumemode", text(c.Spec.VolumeMode)}
		}),
		created[*corev1.PersistentVolumeClaim](prefix),
		deleting[*corev1.PersistentVolumeClaim](prefix),
		many(prefix+"_resource_requests_storage_bytes", "Size that is asked for.", func(c *corev1.PersistentVolumeClaim, e *emitter) {
			if q, ok := c.Spec.Resources.Requests[corev1.ResourceStorage]; ok {
				e.add(float64(q.Value()))
			}
		}),
		many(prefix+"_access_mode", "How the volume may be mounted.", func(c *corev1.PersistentVolumeClaim, e *emitter) {
			for _, mode := range c.Spec.AccessModes {
				e.add(1, "access_mode", string(mode))
			}
		}),
		many(prefix+"_status_phase", "1 for the phase that the claim is in, 0 for the others.", func(c *corev1.PersistentVolumeClaim, e *emitter) {
			if c.Status.Phase != "" {
				e.oneOf("phase", string(c.Status.Phase), "Lost", "Bound", "Pending")
			}
		}),
		many(prefix+"_status_condition", "Whether a condition of the claim holds.", func(c *corev1.PersistentVolumeClaim, e *emitter) {
			for _, one := range c.Status.Conditions {
				e.condition("status", one.Status, "condition", string(one.Type))
			}
		}),
	}
	families = append(families, chosen[*corev1.PersistentVolumeClaim](prefix, "persistentvolumeclaims", o)...)
	return kindOf("persistentvolumeclaims", workload[*corev1.PersistentVolumeClaim]("persistentvolumeclaim"), families)
}

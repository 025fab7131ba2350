// Package annotations reads collections of images with annotated objects: Pascal VOC and COCO.
//
// Inputs and outputs. A collection is a folder or a tar archive of one of these layouts, at its top or in a folder below:
//
//	Pascal VOC   Annotations/NAME.xml, JPEGImages/NAME.jpg, ImageSets/Main/SPLIT.txt
//	COCO         annotations/instances_SPLIT.json, with the images in SPLIT/, images/SPLIT/ or images/
//	             SPLIT/_annotations.coco.json with the images next to it, as Roboflow exports them
//
// or a JSON file of COCO's by itself. [Open] lists a split of one, and [Set.Read] reads its images. [Read] is a transform
// that returns its objects as batches of [Row].
//
// Boxes are left, top, width and height in pixels, with 0 at the image's edge: VOC's pixel numbers from 1, inclusive,
// become edges. VOC's difficult objects and COCO's crowds are marked.
//
// Determinism. Images are in the order of the split, classes in the order of COCO's category numbers or VOC's names.
//
// Errors. A missing or malformed annotation costs its image, whose [Image.Reason] says why; what is missing or malformed
// besides is an error that names the file. Archives must not be compressed.
package annotations

"""What becomes of each file of ../shared/faces/odd: the statuses of its search and of its enrolment.

Statuses, not faces, are the point: 200 for a search in any picture that can be decoded, with or without a
face; 422 for enrolling one without. Where a person would see a face and NO_FACE stands here, HOG sees
none: the face is turned, in profile, squashed or a few pixels wide. Where nobody is and FACE stands here, HOG
takes a drawing for one.
"""

from typing import NamedTuple

from facesearch.errors import BrokenImage, FacesearchError, NotAnImage, TooLarge


class Expected(NamedTuple):
    """HTTP statuses of /search_faces/ and /add_face/, and the error of decoding, if any."""

    search: int
    add: int
    error: type[FacesearchError] | None = None


FACE = Expected(200, 200)
NO_FACE = Expected(200, 422)
# empty, or of no picture format by its first bytes
NOT_AN_IMAGE = Expected(415, 415, NotAnImage)
# begins as a picture, and is cut, damaged, or stored in a way that is not read
BROKEN = Expected(400, 400, BrokenImage)
# its header claims more pixels than the limits allow
TOO_LARGE = Expected(413, 413, TooLarge)

ODD = {
    "6720px_white.jpg": NO_FACE,
    "IMG_4120.JPG": NO_FACE,
    "Portrait_6.jpg": NO_FACE,
    "RGBA_16__128x128.png": NO_FACE,
    "RGB_10__29x100.heif": NO_FACE,
    "alpha.png": FACE,
    "alpha_lossless.webp": FACE,
    "animated_face_in_second_frame.gif": NO_FACE,
    "bad_magic.jpg": NOT_AN_IMAGE,
    "bit_damage.jpg": BROKEN,
    "blur.jpg": FACE,
    "blurred.jpg": FACE,
    "bomb_900MP.png": TOO_LARGE,
    "bomb_header_65500x65500.jpg": TOO_LARGE,
    "broken.png": BROKEN,
    "broken_data_stream.png": BROKEN,
    "cmyk.jpg": FACE,
    "crash-1152ec2d1a1a71395b6f2ce6721c38924d025bf3.tif": BROKEN,
    "decompression_bomb.gif": TOO_LARGE,
    "empty.heic": NOT_AN_IMAGE,
    "exif_orientation_3.jpg": FACE,
    "exif_orientation_6.jpg": FACE,
    "exif_orientation_6.png": FACE,
    "exif_orientation_6.webp": FACE,
    "exif_orientation_8.jpg": FACE,
    "exif_typeerror.jpg": NO_FACE,
    "flat_gray.jpg": NO_FACE,
    "gray.jpg": FACE,
    "gray16.png": FACE,
    "gray_alpha.png": FACE,
    "hopper-missing-pixi.avif": FACE,
    "hopper.avif": FACE,
    "hopper.bmp": FACE,
    "hopper.gif": FACE,
    "hopper.heif": FACE,
    "hopper.jpg": FACE,
    "hopper.tif": FACE,
    "hopper.webp": FACE,
    "hopper_16bit_qtables.jpg": FACE,
    "hopper_bad_exif.jpg": NO_FACE,
    "hopper_bw_500.png": FACE,
    "hopper_gray.jpg": FACE,
    "hopper_idat_after_image_end.png": FACE,
    "hopper_orientation_2.jpg": FACE,
    "hopper_orientation_3.jpg": FACE,
    "hopper_orientation_4.jpg": FACE,
    "hopper_orientation_5.jpg": FACE,
    "hopper_orientation_6.jpg": FACE,
    "hopper_orientation_6.webp": FACE,
    "hopper_orientation_7.jpg": FACE,
    "hopper_orientation_8.jpg": FACE,
    "hopper_rle8.bmp": FACE,
    "hopper_webp.tif": BROKEN,
    "hopper_zero_comment_subblocks.gif": FACE,
    "huge_6500x6500.jpg": FACE,
    "invalid-exif.jpg": NO_FACE,
    "iphone_7.heic": NO_FACE,
    "iss634.gif": NO_FACE,
    "jfif_unit_cm.jpg": NO_FACE,
    "jpeg_without_extension": FACE,
    "junk_jpeg_header.jpg": NO_FACE,
    "kun_cartoon_crop.jpg": FACE,
    "l2rgb_read.bmp": TOO_LARGE,
    "mask2.jpg": FACE,
    "mirrored.jpg": FACE,
    "mode_16bit.png": NO_FACE,
    "no_palette.gif": NO_FACE,
    "obama_partial_face.jpg": FACE,
    "one_pixel.png": NO_FACE,
    "overexposed.jpg": FACE,
    "palette.png": FACE,
    "photo.avif": FACE,
    "photo.bmp": FACE,
    "photo.heic": FACE,
    "photo.tiff": FACE,
    "photo.webp": FACE,
    "pil_sample_cmyk.jpg": NO_FACE,
    "plain_baseline.jpg": FACE,
    "png_decompression_dos.png": NO_FACE,
    "png_named_jpg.jpg": FACE,
    "progressive.jpg": FACE,
    "quality_3.jpg": FACE,
    "rgb16.png": FACE,
    "rgba16.png": FACE,
    "right_face.png": NO_FACE,
    "rise_face.jpeg": FACE,
    "rot_180.jpg": NO_FACE,
    "rot_90.jpg": NO_FACE,
    "rotated_180_no_exif.jpg": NO_FACE,
    "rotated_90_no_exif.jpg": NO_FACE,
    "small_150px.jpg": FACE,
    "squashed.jpg": NO_FACE,
    "still.gif": FACE,
    "sugarshack.mpo": NO_FACE,
    "tRNS_null_1x1.png": NO_FACE,
    "text_named_image.jpg": NOT_AN_IMAGE,
    "thin_1x8000.png": NO_FACE,
    "this-is-a-jpeg.png": NO_FACE,
    "tiny.png": NO_FACE,
    "tiny_40px.jpg": NO_FACE,
    "trailing_garbage.jpg": FACE,
    "truncated.heic": BROKEN,
    "truncated_end_chunk.png": BROKEN,
    "truncated_half.jpg": BROKEN,
    "truncated_header.jpg": BROKEN,
    "truncated_jpeg.jpg": BROKEN,
    "very_dark.jpg": FACE,
    "zero_bytes.jpg": NOT_AN_IMAGE,
    "zero_width.gif": BROKEN,
    "Портрет 人 é.JPG": FACE,
}
